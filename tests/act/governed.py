"""Decisions, snapshots and an agent that calls through a runtime as the instrumentation does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from otel_perfopt.act.runtime import Runtime
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Snapshot
from otel_perfopt.signal.calls import RunContext, ToolCall, ToolRequest

EVERYBODY = Allocation(treatment=1.0)
NOBODY = Allocation(baseline=1.0)


def decision(optimization: str = "tool_cache", **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "policy": f"{optimization}-policy".replace("_", "-"),
        "digest": "d1",
        "optimization": optimization,
        "stage": "canary-1",
        "allocation": EVERYBODY,
        "effects": {"read*": "read", "write*": "write"},
        "salt": "s",
    }
    return Decision(**{**values, **changes})


def snapshot(*decisions: Decision, **changes: Any) -> Snapshot:
    values: dict[str, Any] = {"generation": 1, "generated_at_ns": time.time_ns(), "lease_s": 3600.0}
    return Snapshot(**{**values, **changes}, decisions=decisions)


@dataclass
class Agent:
    """Calls functions through a runtime as the instrumentation does."""

    runtime: Runtime
    run: RunContext
    hits: list[ToolCall] = field(default_factory=list)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        tool = ToolCall(function.__name__, function, args, kwargs, self.run)
        return self.runtime.around_tool(tool, execute)

    async def call_async(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        tool = ToolCall(function.__name__, function, args, kwargs, self.run)
        return await self.runtime.around_tool_async(tool, execute_async)

    def reply(self, *asked: tuple[Callable[..., Any], dict[str, Any]]) -> None:
        requests = [ToolRequest(f"c{i}", function.__name__, arguments) for i, (function, arguments) in enumerate(asked)]
        templates = {f.__name__: ToolCall(f.__name__, f, (), {}, self.run) for f, _ in asked}
        self.runtime.on_reply(self.run, requests, templates)


def execute(call: ToolCall) -> Any:
    return call.function(*call.args, **call.kwargs)


async def execute_async(call: ToolCall) -> Any:
    return await call.function(*call.args, **call.kwargs)
