"""What stands between the agent and its tools: intercepted calls in, the same answers out, by the ways decisions allow."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from otel_perfopt.act import tool_cache
from otel_perfopt.act.asker import asker_of
from otel_perfopt.act.batch_tools import BatchTools
from otel_perfopt.act.call_scope import scope_of
from otel_perfopt.act.call_spans import SIGNAL_SPANS, CallSpans
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.early_calls import EarlyCalls
from otel_perfopt.act.enrolment import Use, enrol, enrolled, use_of
from otel_perfopt.act.fault_log import SELECTION, FaultLog
from otel_perfopt.act.inference import InferenceRuntime
from otel_perfopt.act.inference_table import inference_optimizations
from otel_perfopt.act.link import Link
from otel_perfopt.act.middleware import Middleware, Proceed, ProceedAsync, guard, guard_async
from otel_perfopt.act.parameters.table import OPTIMIZATIONS
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.process_table import process_runtime
from otel_perfopt.act.selection import NO_PLAN, Plan, Selection
from otel_perfopt.act.snapshot_http import source_of
from otel_perfopt.act.snapshot_source import FixedSource, InForce, SnapshotSource
from otel_perfopt.act.standing import Standing
from otel_perfopt.act.tool_cache import ToolCache
from otel_perfopt.act.tool_retry import ToolRetry
from otel_perfopt.act.write_journal import ANY_WRITE, Write, WriteJournal
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.calls import RunContext, ToolCall, ToolRequest


def install(settings: AgentSettings) -> Runtime:
    """Return an interceptor that follows the snapshot under `settings.home`, or at its address; `close()` ends it.

    Never raises. The snapshot is looked at from a thread of its own; this waits at most 0.2 s for
    the first look.
    """
    if not settings.enabled:
        return Runtime(FixedSource())
    return Runtime(source_of(settings))


class Runtime:
    """The `Interceptor` of the seam: chooses what applies, and answers for every fault of it.

    Calls that may write are journalled whatever arm their run is in, since what they change makes
    results of other runs out of date.
    """

    def __init__(self, source: SnapshotSource, *, clock: Clock = SYSTEM_CLOCK, spans: CallSpans = SIGNAL_SPANS) -> None:
        self._source = source
        self._journal = WriteJournal()
        self._standing = Standing(source, clock)
        self.faults = FaultLog(tuple(OPTIMIZATIONS), clock)
        self._link = Link(self.faults, repeatable=False)
        self._repeating_link = Link(self.faults, repeatable=True)
        patience = Patience()
        self._cache = ToolCache(self._journal, patience, clock, spans)
        self._batch = BatchTools(patience, clock, spans)
        self._retry = ToolRetry()
        self._early = EarlyCalls(
            self._standing,
            self.faults,
            journal=self._journal,
            patience=patience,
            clock=clock,
            spans=spans,
            cache=self._cache,
            batch=self._batch,
            retry=self._retry,
            adopt=self._adopt,
        )
        self._parallel, self._preload = self._early.parallel, self._early.preload
        self._order: tuple[Middleware, ...] = (self._cache, self._preload, self._parallel, self._retry, self._batch)
        optimizations = inference_optimizations(self._early.budgets, clock)
        self.inference = InferenceRuntime(self._standing, self.faults, optimizations)
        self._selection_breaker = self.faults.breakers[SELECTION]
        self._plan = NO_PLAN
        self._adopting = threading.Lock()
        self.process = process_runtime(source, self._cache, clock, spans, self._adopt)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(_after_fork, weakref.ref(self)))

    def around_tool(self, call: ToolCall, execute: Callable[[ToolCall], Any]) -> Any:
        """Make a synchronous call, or give its result some other way."""
        plan = self._plan
        # Nothing to apply and nothing to remember, so the plain call costs next to nothing.
        if not plan.tool_rules and self._is_current(plan):
            try:
                return execute(call)
            finally:
                self._changed_since(plan)
        faults: list[Exception] = []
        try:
            on_fault = partial(self._selection_fault, faults)
            # Only `retry_hedge` makes a call again: whatever else stands around it is held to one by its own link.
            return guard(SELECTION, partial(self._conduct, call), execute, call, on_fault, repeatable=True)
        finally:
            if faults:
                self._disturb()

    async def around_tool_async(self, call: ToolCall, execute: Callable[[ToolCall], Awaitable[Any]]) -> Any:
        """Make an asynchronous call, or give its result some other way."""
        plan = self._plan
        if not plan.tool_rules and self._is_current(plan):
            try:
                return await execute(call)
            finally:
                self._changed_since(plan)
        faults: list[Exception] = []
        on_fault = partial(self._selection_fault, faults)
        try:
            around = partial(self._conduct_async, call)
            return await guard_async(SELECTION, around, execute, call, on_fault, repeatable=True)
        finally:
            if faults:
                self._disturb()

    def on_reply(self, run: RunContext, requests: Sequence[ToolRequest], functions: Mapping[str, ToolCall]) -> None:
        """A model's reply asks for `requests`: start early what may be started."""
        in_force = self._in_force(run)
        if in_force is not None and (in_force.plan.tool_rules or self._plan is not in_force.plan):
            self._early.on_reply(in_force, run, requests, functions)

    def on_reply_part(
        self, run: RunContext, requests: Sequence[ToolRequest], functions: Mapping[str, ToolCall]
    ) -> None:
        """A reply that still streams asks for `requests` so far: start early what may be started."""
        in_force = self._in_force(run)
        if in_force is not None:
            self._early.on_reply_part(in_force, run, requests, functions)

    def run_began(self, run: RunContext) -> None:
        """A command begins: it carries the arms that its process is in."""
        self.process.run_began(run)

    def run_ended(self, run: RunContext) -> None:
        """A command has ended: what the next one of its conversation will probably read may be read now."""
        self.process.run_ended(run)
        in_force = self._in_force(run)
        if in_force is not None:
            self._early.run_ended(in_force, run)

    def close(self) -> None:
        """Stop watching the snapshot; calls are plain from here on."""
        self._source.close()
        self.process.close()
        self._early.close()
        self._cache.shared.close()
        self.inference.close()

    def after_fork(self) -> None:
        """Leave the parent's threads, locks and results behind; called in the child."""
        self._adopting = threading.Lock()
        self._standing.after_fork()
        self.process.after_fork()
        self._source.after_fork()
        self._journal.after_fork()
        self._cache.after_fork()
        self._early.after_fork()
        self._batch.after_fork()
        self._retry.after_fork()
        self.inference.after_fork()
        self.faults.after_fork()

    def _conduct(self, call: ToolCall, execute: Proceed) -> Any:
        route = self._route(call)
        proceed = execute
        for middleware, use in route.uses:
            proceed = partial(self._link_of(middleware).through, middleware, use, proceed)
        try:
            self._tell_write(route)
            result = proceed(call)
        finally:
            self._end(route)
            self._tell_write(route)
        if call.run is not None and route.plan is not None:
            self._early.passed(route.plan, call.run, call, result, wrote=route.ticket is not None)
        return result

    async def _conduct_async(self, call: ToolCall, execute: ProceedAsync) -> Any:
        route = self._route(call)
        proceed = execute
        for middleware, use in route.uses:
            proceed = partial(self._link_of(middleware).through_async, middleware, use, proceed)
        try:
            await self._tell_write_async(route)
            result = await proceed(call)
        finally:
            self._end(route)
            await self._tell_write_async(route)
        if call.run is not None and route.plan is not None:
            self._early.passed(route.plan, call.run, call, result, wrote=route.ticket is not None)
        return result

    def _link_of(self, middleware: Middleware) -> Link:
        return self._repeating_link if middleware is self._retry else self._link

    def _route(self, call: ToolCall) -> _Route:
        """Choose what the call passes through, innermost first, and journal the beginning of a write."""
        if not self._selection_breaker.allow():
            # Of this call nothing will be known; it may write anything.
            return _Route(None, None, (), self._journal.begin(ANY_WRITE))
        in_force = self._source.current()
        self._adopt(in_force.plan)
        run = call.run
        asker = asker_of(run, in_force.plan)
        selection = in_force.plan.select(run.command if run is not None else "", call.tool, call.effects, asker)
        uses = tuple(self._uses(in_force, selection, run)) if run is not None and selection.rules else ()
        ticket = self._journal.begin(selection.key, scope_of(call)) if selection.may_write else None
        self._selection_breaker.succeeded()
        return _Route(in_force.plan, selection, uses, ticket)

    def _uses(self, in_force: InForce, selection: Selection, run: RunContext) -> Iterator[tuple[Middleware, Use]]:
        if not self._standing.followed(in_force):
            return
        for middleware in reversed(self._order):
            rule = selection.rules.get(middleware.name)
            if rule is None or rule.decision.policy in in_force.killed_policies:
                continue
            if middleware is self._parallel:
                # Its runs are enrolled where a reply asks for several calls, in either arm.
                batch = self._parallel.batch_of(run)
                enrolment = (
                    enrolled(run, rule) if batch is not None and batch.use.policy == rule.decision.policy else None
                )
            elif (middleware is self._preload and not self._preload.concerns(rule, selection.key.tool)) or (
                middleware is self._retry and not self._retry.concerns(rule, selection.key.tool)
            ):
                enrolment = None
            else:
                enrolment = enrol(run, rule, self._standing.process_unit)
            use = use_of(enrolment, rule) if enrolment is not None else None
            if use is not None:
                yield middleware, use

    def _tell_write(self, route: _Route) -> None:
        """Tell processes that share results that a call which may write begins, or has ended; never raises."""
        plan = route.plan or self._plan
        if route.ticket is None or not self._cache.shared.shares(plan):
            return
        try:
            self._cache.shared.wrote(plan, route.ticket.key)
        except Exception as error:
            self.faults.note(tool_cache.NAME, error, None)

    async def _tell_write_async(self, route: _Route) -> None:
        plan = route.plan or self._plan
        if route.ticket is None or not self._cache.shared.shares(plan):
            return
        try:
            await self._cache.shared.wrote_async(plan, route.ticket.key)
        except Exception as error:
            self.faults.note(tool_cache.NAME, error, None)

    def _end(self, route: _Route) -> None:
        if route.ticket is not None:
            self._journal.end(route.ticket)
        if route.plan is not None:
            self._changed_since(route.plan)

    def _in_force(self, run: RunContext) -> InForce | None:
        try:
            return self._source.current()
        except Exception as error:
            self.faults.note(SELECTION, error, run)
            return None

    def _is_current(self, plan: Plan) -> bool:
        try:
            return self._source.current().plan is plan
        except Exception as error:
            # A source of somebody else's making; the guarded way says what follows.
            self.faults.note(SELECTION, error, None)
            return False

    def _adopt(self, plan: Plan) -> None:
        if plan is self._plan:
            return
        with self._adopting:
            if not plan.governs_like(self._plan):
                self._journal.disturb()
            self._cache.adopt(plan)
            self._preload.adopt(plan)
            self._plan = plan

    def _changed_since(self, plan: Plan) -> None:
        """A call made under `plan` ends: under the present one it might have counted as a write."""
        if self._plan is not plan and not self._plan.governs_like(plan):
            self._disturb()

    def _selection_fault(self, faults: list[Exception], name: str, error: Exception, run: RunContext | None) -> None:
        faults.append(error)
        self.faults.note(name, error, run)

    def _disturb(self) -> None:
        try:
            self._journal.disturb()
        except Exception as error:
            self.faults.note(SELECTION, error, None)
            self._cache.after_fork()


@dataclass(frozen=True, slots=True)
class _Route:
    """What one call passes through; `ticket` is the journal's for a call that may write."""

    plan: Plan | None
    selection: Selection | None
    uses: tuple[tuple[Middleware, Use], ...]
    ticket: Write | None


def _after_fork(reference: weakref.ref[Runtime]) -> None:
    runtime = reference()
    if runtime is not None:
        runtime.after_fork()
