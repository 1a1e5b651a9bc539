"""Calls through one optimization at a time: a call and what comes next in, its outcome out, by the plain way on a fault."""

from __future__ import annotations

from functools import partial
from typing import Any

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.fault_log import FaultLog
from otel_perfopt.act.middleware import InferenceMiddleware, Middleware, Proceed, ProceedAsync, guard, guard_async
from otel_perfopt.signal.calls import InferenceCall, ToolCall


class Link:
    """Asks an optimization's breaker, notes its faults, and goes on without it where either says so.

    `repeatable`: whether what comes next may be called more than once, as calls of a model may.
    """

    def __init__(self, faults: FaultLog, *, repeatable: bool) -> None:
        self._faults = faults
        self._repeatable = repeatable

    def through(
        self, middleware: Middleware | InferenceMiddleware, use: Use, proceed: Proceed, call: ToolCall | InferenceCall
    ) -> Any:
        """Make a synchronous call as `middleware` has it."""
        name = middleware.name
        breaker = self._faults.breakers[name]
        if not breaker.allow():
            return proceed(call)
        around: Any = partial(middleware.around, use, call)  # type: ignore[arg-type]  # each table holds its own kind
        on_fault = partial(self._faults.note, policy=use.policy)
        result = guard(name, around, proceed, call, on_fault, repeatable=self._repeatable)
        breaker.succeeded()
        return result

    async def through_async(
        self,
        middleware: Middleware | InferenceMiddleware,
        use: Use,
        proceed: ProceedAsync,
        call: ToolCall | InferenceCall,
    ) -> Any:
        """Do the same for an asynchronous call."""
        name = middleware.name
        breaker = self._faults.breakers[name]
        if not breaker.allow():
            return await proceed(call)
        around: Any = partial(middleware.around_async, use, call)  # type: ignore[arg-type]
        on_fault = partial(self._faults.note, policy=use.policy)
        result = await guard_async(name, around, proceed, call, on_fault, repeatable=self._repeatable)
        breaker.succeeded()
        return result
