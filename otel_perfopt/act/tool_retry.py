"""A failed read made again: a call of a read-only tool in, its result, by a later try where an earlier failed in passing."""

from __future__ import annotations

import asyncio
import inspect
import random
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.call_budget import CallBudget
from otel_perfopt.act.call_key import call_key
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.overload import pause_s
from otel_perfopt.act.parameters.retry_hedge import RetryHedgeParameters
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Rule
from otel_perfopt.act.transient import may_pass
from otel_perfopt.signal.calls import ToolCall

NAME: Final = "retry_hedge"
MAX_TOOLS: Final = 256


@dataclass(slots=True)
class _Tries:
    """One call's way through its tries: what it was asked with, how many it had, how long it may still wait."""

    key: Hashable
    budget: CallBudget
    left_s: float
    made: int = 0


class ToolRetry:
    """Makes a failed call of a read-only tool again, within a budget of extra calls and of time.

    Only what fails in passing, and only with the arguments as they were: arguments that are no plain data, or that
    the tool has changed, are not given to it twice. Where tries come to nothing the agent gets the last one's
    exception. Each try has a span of its own.

    A function that blocks the event loop it is called on is not made again: that would hold up everybody on the
    loop. Neither is a call whose command has ended, nor any in shadow.
    """

    name = NAME

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, chance: Callable[[], float] = random.random
    ) -> None:
        self._sleep = sleep
        self._chance = chance
        self.after_fork()

    def after_fork(self) -> None:
        """Learn anew in the child."""
        self._lock = threading.Lock()
        self._budgets: dict[Hashable, CallBudget] = {}

    def concerns(self, rule: Rule, tool: str) -> bool:
        """Tell whether calls of this tool are meant, among those that the policy matches."""
        return _parameters(rule).is_about(tool)

    def around(self, use: Use, call: ToolCall, proceed: Proceed) -> Any:
        """Give the result of the first try that went well."""
        tries = self._begin(use, call)
        if tries is None or _on_a_loop():
            return proceed(call)
        while True:
            try:
                return proceed(call)
            except Exception as error:
                wait_s = self._wait_s(use, call, tries, error)
                if wait_s is None:
                    raise
            self._sleep(wait_s)

    async def around_async(self, use: Use, call: ToolCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call; a cancellation ends the wait and the call."""
        tries = self._begin(use, call)
        if tries is None:
            return await proceed(call)
        while True:
            try:
                return await proceed(call)
            except Exception as error:
                wait_s = self._wait_s(use, call, tries, error)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    def _begin(self, use: Use, call: ToolCall) -> _Tries | None:
        """Return what a call starts with; None for one that is made once."""
        parameters = _parameters(use.rule)
        if use.shadow or call.run is None or not parameters.tries_of_tools:
            return None
        if inspect.isgeneratorfunction(call.function) or inspect.isasyncgenfunction(call.function):
            return None
        budget = self._budget(use, call)
        budget.earn()
        key = call_key(call.function, call.args, call.kwargs)
        return None if key is None else _Tries(key, budget, parameters.max_wait_s)

    def _wait_s(self, use: Use, call: ToolCall, tries: _Tries, error: Exception) -> float | None:
        """Return how long to wait before the next try, and count it; None where there is none."""
        parameters, run = _parameters(use.rule), call.run
        if (
            run is None
            or not run.open
            or tries.made >= parameters.tries_of_tools
            or not may_pass(error, parameters.transient)
        ):
            return None
        # Full jitter: those that failed together must not come back together.
        wait_s = pause_s(error) + parameters.backoff_s * 2.0**tries.made * self._chance()
        if wait_s > tries.left_s or call_key(call.function, call.args, call.kwargs) != tries.key:
            return None
        if not tries.budget.spend():
            return None
        tries.made += 1
        tries.left_s -= wait_s
        count(run, use.policy, conventions.POLICY_RETRIES)
        return wait_s

    def _budget(self, use: Use, call: ToolCall) -> CallBudget:
        # One tool that is down for good must not use up what others would need.
        key = use.policy, use.rule.decision.digest, call.tool
        budget = self._budgets.get(key)
        if budget is None:
            with self._lock:
                while len(self._budgets) >= MAX_TOOLS:
                    self._budgets.pop(next(iter(self._budgets)))
                budget = self._budgets.setdefault(key, CallBudget(_parameters(use.rule).budget))
        return budget


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _parameters(rule: Rule) -> RetryHedgeParameters:
    parameters = rule.parameters
    assert isinstance(parameters, RetryHedgeParameters)
    return parameters
