"""A second try where the first is slow or failed in passing: a call of a model in, whichever reply came first out."""

from __future__ import annotations

import asyncio
import contextvars
import random
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.call_budget import CallBudget
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.early_budget import EarlyBudgets
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.latency_memory import LatencyMemory
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.overload import is_overload, is_transient, pause_s
from otel_perfopt.act.parameters.retry_hedge import RetryHedgeParameters
from otel_perfopt.act.run_tally import count
from otel_perfopt.signal.calls import InferenceCall

NAME: Final = "retry_hedge"
MAX_KINDS = 64
_LONGEST_BACKOFF_S = 30.0


@dataclass(slots=True)
class _Kind:
    """What is known of the calls of one model under one policy."""

    budget: CallBudget
    latency: LatencyMemory = field(default_factory=LatencyMemory)


class RetryHedge:
    """Makes a slow call's twin, and a failed call again, within a budget of extra calls.

    Only requests that the provider keeps nothing of. An overloaded provider gets no tries beyond the
    client's own unless the policy says so: extra calls would feed what they flee. Streams pass: their first piece
    may come at once and the last never. What comes second is closed unread.
    """

    name = NAME

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        budgets: EarlyBudgets | None = None,
    ) -> None:
        self._budgets = budgets or EarlyBudgets(clock)
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._kinds: dict[Hashable, _Kind] = {}
        self._lock = threading.Lock()

    def around(self, use: Use, call: InferenceCall, proceed: Proceed) -> Any:
        """Give the first reply there is."""
        if use.shadow or not _may_repeat(call):
            return proceed(call)
        parameters, kind = _parameters(use), self._kind(use, call)
        kind.budget.earn()
        for number in range(parameters.retries + 1):
            began_ns = self._clock.monotonic_ns()
            try:
                result = self._hedged(use, call, proceed)
            except Exception as error:
                if number == parameters.retries or not _worth_a_try(parameters, error) or not kind.budget.spend():
                    raise
                count(call.run, use.policy, conventions.POLICY_RETRIES)
                self._sleep(self._backoff_s(parameters, number, error))
            else:
                kind.latency.observe((self._clock.monotonic_ns() - began_ns) / 1e9)
                return result
        raise AssertionError("the last try returns or raises")

    async def around_async(self, use: Use, call: InferenceCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        if use.shadow or not _may_repeat(call):
            return await proceed(call)
        parameters, kind = _parameters(use), self._kind(use, call)
        kind.budget.earn()
        for number in range(parameters.retries + 1):
            began_ns = self._clock.monotonic_ns()
            try:
                result = await self._hedged_async(use, call, proceed)
            except Exception as error:
                if number == parameters.retries or not _worth_a_try(parameters, error) or not kind.budget.spend():
                    raise
                count(call.run, use.policy, conventions.POLICY_RETRIES)
                await asyncio.sleep(self._backoff_s(parameters, number, error))
            else:
                kind.latency.observe((self._clock.monotonic_ns() - began_ns) / 1e9)
                return result
        raise AssertionError("the last try returns or raises")

    def after_fork(self) -> None:
        """Learn anew in the child."""
        self._lock = threading.Lock()
        self._kinds = {}

    def _hedged(self, use: Use, call: InferenceCall, proceed: Proceed) -> Any:
        """Make the call in a thread of its own, and its twin in another where it takes too long."""
        if _parameters(use).budget == 0:
            return proceed(call)
        first = _in_thread(proceed, call)
        done, _ = wait((first,), self._patience_s(use, call))
        if done or not self._may_hedge(use, call):
            return first.result()
        count(call.run, use.policy, conventions.POLICY_HEDGES)
        second = _in_thread(proceed, call)
        winner, other = _first_good(first, second)
        other.add_done_callback(_close_result)
        return winner.result()

    async def _hedged_async(self, use: Use, call: InferenceCall, proceed: ProceedAsync) -> Any:
        if _parameters(use).budget == 0:
            return await proceed(call)
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(proceed(call))]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._patience_s(use, call))
            if not done and self._may_hedge(use, call):
                count(call.run, use.policy, conventions.POLICY_HEDGES)
                tasks.append(asyncio.ensure_future(proceed(call)))
            return await _first_good_async(tasks)
        finally:
            for task in tasks:
                if not task.done():
                    task.cancel()

    def _may_hedge(self, use: Use, call: InferenceCall) -> bool:
        """Tell whether one more twin may be made: by the policy's share of calls, and by the budgets of early calls."""
        return self._kind(use, call).budget.spend() and self._budgets.take(use.rule.decision.budgets, None)

    def _patience_s(self, use: Use, call: InferenceCall) -> float:
        parameters = _parameters(use)
        usual_s = self._kind(use, call).latency.quantile(parameters.hedge_quantile)
        return parameters.hedge_after_s if usual_s is None else usual_s

    def _backoff_s(self, parameters: RetryHedgeParameters, number: int, error: Exception) -> float:
        # Full jitter: those that failed together must not come back together.
        return pause_s(error) + min(_LONGEST_BACKOFF_S, parameters.backoff_s * 2.0**number) * self._chance()

    def _kind(self, use: Use, call: InferenceCall) -> _Kind:
        key = use.policy, use.rule.decision.digest, call.api, str(call.kwargs.get("model", call.model))
        kind = self._kinds.get(key)
        if kind is None:
            with self._lock:
                while len(self._kinds) >= MAX_KINDS:
                    self._kinds.pop(next(iter(self._kinds)))
                kind = self._kinds.setdefault(key, _Kind(CallBudget(_parameters(use).budget)))
        return kind


def _may_repeat(call: InferenceCall) -> bool:
    """Tell whether a request leaves nothing behind: neither stored, nor in the background, nor part of a kept conversation."""
    asked = call.kwargs
    kept = call.api == "openai.responses" and asked.get("store") is not False
    return not (call.stream or kept or asked.get("store") or asked.get("background"))


def _worth_a_try(parameters: RetryHedgeParameters, error: Exception) -> bool:
    return is_transient(error) and (parameters.on_overload or not is_overload(error))


def _in_thread(proceed: Proceed, call: InferenceCall) -> Future[Any]:
    future: Future[Any] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(proceed, call))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="perfopt-hedge", daemon=True).start()
    return future


def _first_good(first: Future[Any], second: Future[Any]) -> tuple[Future[Any], Future[Any]]:
    """Return the call that succeeded first and the other; where both fail, the one the agent made."""
    done, _ = wait((first, second), return_when=FIRST_COMPLETED)
    early, late = (first, second) if first in done else (second, first)
    if early.exception() is None:
        return early, late
    wait((late,))
    return (late, early) if late.exception() is None else (first, second)


async def _first_good_async(tasks: list[asyncio.Future[Any]]) -> Any:
    waiting = set(tasks)
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.exception() is None:
                return task.result()
    return tasks[0].result()


def _close_result(future: Future[Any]) -> None:
    close = None if future.exception() else getattr(future.result(), "close", None)
    if callable(close):
        close()


def _parameters(use: Use) -> RetryHedgeParameters:
    parameters = use.rule.parameters
    assert isinstance(parameters, RetryHedgeParameters)
    return parameters
