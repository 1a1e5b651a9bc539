"""A model's reply given again by `response_cache`, through OpenAI's own client with spans: microseconds a hit."""

from __future__ import annotations

import importlib
import time
from contextlib import suppress
from typing import Any

import httpx
import openai

from measure import measure
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.signal.emit import inference_calls
from otel_perfopt.signal.emit.spans import command
from otel_perfopt.signal.frameworks import openai_chat

REPLY = {
    "id": "r1",
    "object": "chat.completion",
    "created": 0,
    "model": "gpt-4o",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi " * 100}}],
    "usage": {"prompt_tokens": 500, "completion_tokens": 100, "total_tokens": 600},
}
MESSAGES: list[Any] = [{"role": "system", "content": "be good " * 200}, {"role": "user", "content": "hello"}]


def main() -> None:
    for name in openai_chat.MODULES:
        with suppress(ImportError):
            openai_chat.instrument_module(importlib.import_module(name))
    decision = Decision(
        "c", "d", "response_cache", "active", Allocation(treatment=1.0), {"ttl_s": 3600.0}, Match(command=("*",))
    )
    snapshot = Snapshot(1, time.time_ns(), 86400.0, decisions=(decision,))
    inference_calls.set_inference_interceptor(Runtime(FixedSource(snapshot)).inference)
    asked: list[httpx.Request] = []
    transport = httpx.MockTransport(lambda request: asked.append(request) or httpx.Response(200, json=REPLY))
    client = openai.OpenAI(api_key="none", http_client=httpx.Client(transport=transport))
    with command("/query", conversation_id="c1"):
        ask = lambda: client.chat.completions.create(model="gpt-4o", messages=MESSAGES, temperature=0)  # noqa: E731
        if ask() != ask() or len(asked) != 1:
            raise SystemExit("the second call was no hit")
        measure(ask)


if __name__ == "__main__":
    main()
