"""One agent under its own snapshot: recorded conversations as JSON lines in, what each request took as JSON lines out.

    OPENAI_BASE_URL=… perfopt run --home … -- python talk.py

A line is {"id", "habit", "messages", "tools"}; before each recorded reply the model is asked, and the recorded
reply is what the conversation goes on with. The last request is made twice more, whole, as when a customer asks again.
Habits: `plain`; `rewriting` cuts old results each time it sends the conversation; `shuffled` lists its tools in another
order each time, as agents do that gather them from several servers.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from openai import OpenAI

from otel_perfopt import command

MODEL = "smollm2"
CUT_CHARS = 160
Talk = Mapping[str, Any]


def cut_old_results(messages: list[Any]) -> list[Any]:
    """Return the messages with every result but the newest cut short: a prefix that was sent is changed again and again."""
    results = [index for index, message in enumerate(messages) if message["role"] == "tool"][:-1]
    return [
        {**message, "content": message["content"][:CUT_CHARS] + " …"} if index in results else message
        for index, message in enumerate(messages)
    ]


def shuffled(tools: list[Any], number: int) -> list[Any]:
    return random.Random(number).sample(tools, len(tools))


def requests_of(talk: Talk) -> list[dict[str, Any]]:
    """Return what is sent before each recorded reply."""
    sent = []
    for index, message in enumerate(talk["messages"]):
        if message["role"] == "assistant" and index:
            messages = talk["messages"][:index]
            if talk["habit"] == "rewriting":
                messages = cut_old_results(messages)
            tools = talk["tools"]
            if tools and talk["habit"] == "shuffled":
                tools = shuffled(tools, index)
            sent.append({"messages": messages, **({"tools": tools} if tools else {})})
    return sent


def streamed(client: OpenAI, request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """Ask and read the stream; returns seconds to the first token and altogether, and the usage."""
    began, first, usage = time.perf_counter(), None, None
    stream = client.chat.completions.create(
        model=MODEL, **request, max_tokens=tokens, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        if first is None and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter() - began
        usage = chunk.usage or usage
    ended = time.perf_counter() - began
    return {"first_s": ended if first is None else first, "seconds": ended, **told(usage)}


def whole(client: OpenAI, request: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    began = time.perf_counter()
    reply = client.chat.completions.create(model=MODEL, **request, max_tokens=tokens, temperature=0)
    seconds = time.perf_counter() - began
    return {"first_s": seconds, "seconds": seconds, **told(reply.usage), "text": reply.choices[0].message.content}


def told(usage: Any) -> dict[str, int]:
    cached = usage.prompt_tokens_details.cached_tokens
    return {"prompt": usage.prompt_tokens, "cached": cached, "evaluated": usage.prompt_tokens - cached}


def forget(client: OpenAI) -> None:
    """Make the server's one slot hold something else, so that every conversation begins cold."""
    client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "zzz"}], max_tokens=1)


def talk_through(client: OpenAI, talk: Talk, write: Callable[[dict[str, Any]], None]) -> None:
    requests = requests_of(talk)
    with command("/task", conversation_id=talk["id"]):
        for turn, request in enumerate(requests):
            write({"id": talk["id"], "turn": turn, "kind": "turn", **streamed(client, request, 4)})
        for kind in ("asked", "asked again"):
            write({"id": talk["id"], "turn": len(requests), "kind": kind, **whole(client, requests[-1], 24)})


def main() -> None:
    client = OpenAI(api_key="not-needed", max_retries=0, timeout=300.0)
    forget(client)
    print(json.dumps({"kind": "ready"}), flush=True)
    for line in sys.stdin:
        talk = json.loads(line)
        forget(client)
        talk_through(client, talk, lambda row: print(json.dumps(row), flush=True))
        print(json.dumps({"id": talk["id"], "kind": "end"}), flush=True)


if __name__ == "__main__":
    main()
