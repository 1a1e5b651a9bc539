"""What the tests of optimizations before real clients share: decisions, and replies of a provider."""

from __future__ import annotations

from typing import Any

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match

HELLO = [{"role": "user", "content": "hello"}]


def decision(optimization: str, parameters: dict[str, Any] | None = None, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "policy": optimization.replace("_", "-"),
        "digest": "d1",
        "optimization": optimization,
        "stage": "canary-1",
        "allocation": Allocation(treatment=1.0),
        "parameters": parameters or {},
        "match": Match(command=("/query",)),
        "salt": "s",
    }
    return Decision(**{**values, **changes})


def completion(content: str = "hi", **message: Any) -> dict[str, Any]:
    return {
        "id": "r1",
        "object": "chat.completion",
        "created": 0,
        "model": "gpt-5-1",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content, **message}}
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
