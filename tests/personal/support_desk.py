"""A small agent on OpenAI's client, as a service would run it: requests as JSON lines in, what it heard out.

It knows nothing of preferences: who asks, and what that user prefers, comes with the request's own headers.
"""

from __future__ import annotations

import json
import sys

import openai
from opentelemetry import context, propagate

import otel_perfopt

client = openai.OpenAI(max_retries=0)


class Stopped(KeyboardInterrupt):
    """The user pressed the button."""


def answer(question: str, user_id: str, conversation_id: str, *, stops: bool = False) -> str:
    """Ask the model, at the effort that the agent's author thought right."""
    reply = client.chat.completions.create(
        model="gpt-5", messages=[{"role": "user", "content": question}], reasoning_effort="high"
    )
    if stops:
        raise Stopped
    return reply.choices[0].message.content


def served(request: dict) -> str:
    token = context.attach(propagate.extract(request.get("headers", {})))
    try:
        said = answer(request["question"], request["user"], request["conversation"], stops=request.get("stops", False))
        if request.get("score") is not None:
            otel_perfopt.feedback(request["score"])
    except Stopped:
        return "stopped"
    finally:
        context.detach(token)
    return said


def serve() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(served(json.loads(line))) + "\n")
        sys.stdout.flush()
    client.close()
