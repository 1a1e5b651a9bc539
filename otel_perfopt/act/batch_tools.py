"""The optimization `batch_tools`: calls of one tool that come at once in, each one's own result of one common call out."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.call_batch import BatchBoard, CallBatch, Form, GoesAloneError
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.parameters.batch_tools import BatchToolsParameters
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Rule
from otel_perfopt.act.tenancy import tenant_of
from otel_perfopt.signal.calls import RunContext, ToolCall

NAME: Final = "batch_tools"
MAX_KEYS: Final = 512
# After so many windows in which nobody came, only every sixteenth call waits for company.
_LONELY: Final = 8
_PROBE: Final = 16


class BatchTools:
    """Calls of one tool inside a small window go as one call of the tool's form for many.

    Each call keeps its own span, its own result or exception, and its own moment: it is made between its
    being asked for and its return, as ever. A batch that fails, takes unusually long, or gives something
    else than one result a call is made call by call. Tools without a form, and calls whose arguments have
    no names, are left alone. A method's form gets the object first.

    Counts: `started` batches of two and more, `claimed` calls that were made in one, `discarded` calls
    that a batch did not answer. In shadow, `claimed` are calls that came within a window of another.
    """

    name = NAME

    def __init__(self, patience: Patience, clock: Clock, spans: CallSpans) -> None:
        self._patience = patience
        self._clock = clock
        self._spans = spans
        self._board = BatchBoard()
        self._company: dict[Hashable, deque[bool]] = {}
        self._calls: dict[Hashable, int] = {}
        self._latest: dict[Hashable, int] = {}

    def around(self, use: Use, call: ToolCall, proceed: Proceed) -> Any:
        """Give the call's result, made together with others where there are some."""
        form, key = self._form(use, call), self._key(use, call)
        if form is None or key is None or inspect.iscoroutinefunction(form):
            return proceed(call)
        if use.shadow:
            self._watch(use, call, key)
            return proceed(call)
        return proceed(replace(call, function=partial(self._together, use, call, key, form)))

    async def around_async(self, use: Use, call: ToolCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        form, key = self._form(use, call), self._key(use, call)
        if form is None or key is None or not inspect.iscoroutinefunction(form):
            return await proceed(call)
        if use.shadow:
            self._watch(use, call, key)
            return await proceed(call)
        return await proceed(replace(call, function=partial(self._together_async, use, call, key, form)))

    def after_fork(self) -> None:
        """Batches of the parent are never made here."""
        self._board.after_fork()
        self._company, self._calls, self._latest = {}, {}, {}

    def _together(self, use: Use, call: ToolCall, key: Hashable, form: Form, /, *args: Any, **kwargs: Any) -> Any:
        """Stand in for the tool's function."""
        parameters = _parameters(use.rule)
        batch, place = self._board.join(key, dict(call.arguments or {}), parameters.max_size)
        if place:
            if batch.opener == threading.get_ident():
                return call.function(*args, **kwargs)
            batch.wait(parameters.window_s + self._patience.limit_s(call.tool, parameters.max_wait_s))
        else:
            results: object = None
            try:
                if self._expects_company(key):
                    batch.wait_for_others(parameters.window_s)
                asked = self._board.close(key, batch)
                if len(asked) > 1:
                    results = self._made(call, form, asked)
            finally:
                self._note_company(key, batch)
                batch.land(results)
        try:
            return self._own(use, call.run, batch, place)
        except GoesAloneError:
            pass
        return call.function(*args, **kwargs)

    async def _together_async(
        self, use: Use, call: ToolCall, key: Hashable, form: Form, /, *args: Any, **kwargs: Any
    ) -> Any:
        parameters = _parameters(use.rule)
        loop = asyncio.get_running_loop()
        batch, place = self._board.join(key, dict(call.arguments or {}), parameters.max_size, loop)
        if place:
            limit_s = self._patience.limit_s(call.tool, parameters.max_wait_s)
            await batch.wait_async(parameters.window_s + limit_s)
        else:
            results: object = None
            try:
                if self._expects_company(key):
                    await batch.wait_for_others_async(parameters.window_s)
                asked = self._board.close(key, batch)
                if len(asked) > 1:
                    results = await self._made_async(call, form, asked)
            finally:
                self._board.close(key, batch)
                self._note_company(key, batch)
                batch.land(results)
        try:
            return self._own(use, call.run, batch, place)
        except GoesAloneError:
            pass
        return await call.function(*args, **kwargs)

    def _made(self, call: ToolCall, form: Form, asked: list[Any]) -> object:
        began_ns = self._clock.monotonic_ns()
        try:
            results: object = form(asked)
        except Exception:
            return None  # call by call, each will show what is wrong with it
        self._patience.observe(call.tool, self._clock.monotonic_ns() - began_ns)
        return results

    async def _made_async(self, call: ToolCall, form: Form, asked: list[Any]) -> object:
        began_ns = self._clock.monotonic_ns()
        try:
            results: object = await form(asked)
        except Exception:
            return None  # as above
        self._patience.observe(call.tool, self._clock.monotonic_ns() - began_ns)
        return results

    def _own(self, use: Use, run: RunContext | None, batch: CallBatch, place: int) -> Any:
        alone = len(batch.arguments) < 2
        failed = False
        try:
            return batch.result(place)
        except GoesAloneError:
            failed = True
            raise
        finally:
            if run is not None and not alone:
                if not place:
                    count(run, use.policy, conventions.POLICY_STARTED)
                count(run, use.policy, conventions.POLICY_DISCARDED if failed else conventions.POLICY_CLAIMED)

    def _form(self, use: Use, call: ToolCall) -> Form | None:
        if call.arguments is None:
            return None
        named = _parameters(use.rule).batch.get(call.tool)
        form = self._spans.batch_form(call.tool) if named is None else _loaded(named)
        owner = _owner(call)
        return form if form is None or owner is None else partial(form, owner)

    def _key(self, use: Use, call: ToolCall) -> Hashable | None:
        tenant = tenant_of(_parameters(use.rule).scope, call.run)
        if tenant is None:
            return None
        decision = use.rule.decision
        # The same function of the same object: a batch's calls differ in nothing but their arguments.
        return decision.policy, decision.digest, tenant, call.tool, id(call.function), id(_owner(call))

    def _watch(self, use: Use, call: ToolCall, key: Hashable) -> None:
        now_ns, before_ns = self._clock.monotonic_ns(), self._latest.get(key)
        if before_ns is not None or len(self._latest) < MAX_KEYS:
            self._latest[key] = now_ns
        within_ns = int(_parameters(use.rule).window_s * 1e9)
        if before_ns is not None and now_ns - before_ns <= within_ns and call.run is not None:
            count(call.run, use.policy, conventions.POLICY_CLAIMED)

    def _expects_company(self, key: Hashable) -> bool:
        """Tell whether a window is worth waiting for: a lone agent's calls must not all be late."""
        tool = _tool_of(key)
        known = self._company.get(tool)
        if known is None or len(known) < _LONELY or any(known):
            return True
        self._calls[tool] = self._calls.get(tool, 0) + 1
        return self._calls[tool] % _PROBE == 0

    def _note_company(self, key: Hashable, batch: CallBatch) -> None:
        tool = _tool_of(key)
        known = self._company.get(tool)
        if known is None:
            if len(self._company) >= MAX_KEYS:
                return
            known = self._company[tool] = deque(maxlen=_LONELY)
        known.append(len(batch.arguments) > 1)


def _tool_of(key: Hashable) -> Hashable:
    assert isinstance(key, tuple)
    return key[0], key[3]


def _owner(call: ToolCall) -> Any:
    """Return a method's object: it comes first, and is none of the arguments."""
    first = call.args[0] if call.args else None
    return None if any(value is first for value in (call.arguments or {}).values()) else first


def _loaded(name: str) -> Callable[..., Any] | None:
    """Return the function of that name if its module is loaded: a policy never makes the agent import anything."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if callable(found) else None


def _parameters(rule: Rule) -> BatchToolsParameters:
    parameters = rule.parameters
    assert isinstance(parameters, BatchToolsParameters)
    return parameters
