"""What stands between the agent and its tools: intercepted calls in, the same answers out, by the ways decisions allow."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from otel_perfopt.act import batch_tools, parallel_tools, preload, tool_cache
from otel_perfopt.act.batch_tools import BatchTools
from otel_perfopt.act.call_scope import scope_of
from otel_perfopt.act.call_spans import SIGNAL_SPANS, CallSpans
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.enrolment import Enrolment, Use, enrol, enrolled, foreseen, use_of
from otel_perfopt.act.fault_log import SELECTION, FaultLog
from otel_perfopt.act.inference import InferenceRuntime
from otel_perfopt.act.inference_table import inference_optimizations
from otel_perfopt.act.middleware import Middleware, Proceed, ProceedAsync, guard, guard_async
from otel_perfopt.act.parallel_tools import ParallelTools
from otel_perfopt.act.parameters.table import OPTIMIZATIONS
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.preload import Preload
from otel_perfopt.act.preload_foresight import Occasion
from otel_perfopt.act.process_table import process_runtime
from otel_perfopt.act.process_unit import process_unit
from otel_perfopt.act.selection import NO_PLAN, Plan, Rule, Selection
from otel_perfopt.act.snapshot_http import source_of
from otel_perfopt.act.snapshot_source import FixedSource, InForce, SnapshotSource
from otel_perfopt.act.tool_cache import ToolCache
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
        self._clock = clock
        self._journal = WriteJournal()
        patience = Patience()
        self._cache = ToolCache(self._journal, patience, clock, spans)
        self._spans = spans
        self._batch = BatchTools(patience, clock, spans)
        early = replace(spans, execute=self._execute_early, execute_async=self._execute_early_async)
        self._parallel = ParallelTools(self._journal, patience, clock, early)
        self._preload = Preload(self._journal, patience, clock, early)
        self._order: tuple[Middleware, ...] = (self._cache, self._preload, self._parallel, self._batch)
        self.faults = FaultLog(tuple(OPTIMIZATIONS), clock)
        self.inference = InferenceRuntime(
            source, self.faults, clock, lambda: self._process_unit, inference_optimizations()
        )
        self._selection_breaker = self.faults.breakers[SELECTION]
        self._process_unit = process_unit()
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
            return guard(SELECTION, partial(self._conduct, call), execute, call, partial(self._selection_fault, faults))
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
            return await guard_async(SELECTION, partial(self._conduct_async, call), execute, call, on_fault)
        finally:
            if faults:
                self._disturb()

    def on_reply(self, run: RunContext, requests: Sequence[ToolRequest], functions: Mapping[str, ToolCall]) -> None:
        """A model's reply asks for `requests`: start early what may be started."""
        try:
            in_force = self._source.current()
            if not in_force.plan.tool_rules and self._plan is in_force.plan:
                return
            self._adopt(in_force.plan)
            if self._followed(in_force):
                if self._grow_early(in_force, run, requests, functions):
                    self._parallel.whole(run)
                else:
                    self._parallel.finish(run)
                    self._begin_early(in_force, run, requests, functions)
            else:
                self._parallel.finish(run)
        except Exception as error:
            self.faults.note(parallel_tools.NAME, error, run)

    def on_reply_part(
        self, run: RunContext, requests: Sequence[ToolRequest], functions: Mapping[str, ToolCall]
    ) -> None:
        """A reply that still streams asks for `requests` so far: start early what may be started."""
        try:
            in_force = self._source.current()
            if not in_force.plan.has(parallel_tools.NAME):
                return
            self._adopt(in_force.plan)
            if self._followed(in_force) and not self._grow_early(in_force, run, requests, functions):
                self._begin_early(in_force, run, requests, functions, streaming=True)
        except Exception as error:
            self.faults.note(parallel_tools.NAME, error, run)

    def run_began(self, run: RunContext) -> None:
        """A command begins: it carries the arms that its process is in."""
        self.process.run_began(run)

    def run_ended(self, run: RunContext) -> None:
        """A command has ended: what the next one of its conversation will probably read may be read now."""
        self.process.run_ended(run)
        try:
            in_force = self._source.current()
            if not in_force.plan.has(preload.NAME):
                return
            self._adopt(in_force.plan)
            self._foresee(in_force, run, None, None)
            self._preload.settle(run)
        except Exception as error:
            self.faults.note(preload.NAME, error, run)

    def close(self) -> None:
        """Stop watching the snapshot; calls are plain from here on."""
        self._source.close()
        self.process.close()
        self._parallel.close()
        self._preload.close()
        self._cache.shared.close()
        self.inference.close()

    def after_fork(self) -> None:
        """Leave the parent's threads, locks and results behind; called in the child."""
        self._adopting = threading.Lock()
        self._process_unit = process_unit()
        self.process.after_fork()
        self._source.after_fork()
        self._journal.after_fork()
        self._cache.after_fork()
        self._parallel.after_fork()
        self._preload.after_fork()
        self._batch.after_fork()
        self.inference.after_fork()
        self.faults.after_fork()

    def _conduct(self, call: ToolCall, execute: Proceed) -> Any:
        route = self._route(call)
        proceed = execute
        for middleware, use in route.uses:
            proceed = partial(self._link, middleware, use, proceed)
        try:
            self._tell_write(route)
            result = proceed(call)
        finally:
            self._end(route)
            self._tell_write(route)
        self._passed(route, call, result)
        return result

    async def _conduct_async(self, call: ToolCall, execute: ProceedAsync) -> Any:
        route = self._route(call)
        proceed = execute
        for middleware, use in route.uses:
            proceed = partial(self._link_async, middleware, use, proceed)
        try:
            await self._tell_write_async(route)
            result = await proceed(call)
        finally:
            self._end(route)
            await self._tell_write_async(route)
        self._passed(route, call, result)
        return result

    def _link(self, middleware: Middleware, use: Use, proceed: Proceed, call: ToolCall) -> Any:
        name = middleware.name
        breaker = self.faults.breakers[name]
        if not breaker.allow():
            return proceed(call)
        on_fault = partial(self.faults.note, policy=use.policy)
        result = guard(name, partial(middleware.around, use, call), proceed, call, on_fault)
        breaker.succeeded()
        return result

    async def _link_async(self, middleware: Middleware, use: Use, proceed: ProceedAsync, call: ToolCall) -> Any:
        name = middleware.name
        breaker = self.faults.breakers[name]
        if not breaker.allow():
            return await proceed(call)
        on_fault = partial(self.faults.note, policy=use.policy)
        result = await guard_async(name, partial(middleware.around_async, use, call), proceed, call, on_fault)
        breaker.succeeded()
        return result

    def _execute_early(self, call: ToolCall) -> Any:
        """Make a call that was started early: together with others, where they may go together."""
        use = self._early_batch_use(call)
        return self._spans.execute(call) if use is None else self._link(self._batch, use, self._spans.execute, call)

    async def _execute_early_async(self, call: ToolCall) -> Any:
        use = self._early_batch_use(call)
        if use is None:
            return await self._spans.execute_async(call)
        return await self._link_async(self._batch, use, self._spans.execute_async, call)

    def _early_batch_use(self, call: ToolCall) -> Use | None:
        try:
            in_force, run = self._source.current(), call.run
            if run is None or not in_force.plan.has(batch_tools.NAME) or not self._followed(in_force):
                return None
            rule = in_force.plan.select(run.command, call.tool, call.effects).rules.get(batch_tools.NAME)
            if rule is None or rule.decision.policy in in_force.killed_policies:
                return None
            return self._use(enrol, rule, run)
        except Exception as error:
            self.faults.note(batch_tools.NAME, error, call.run)
            return None

    def _route(self, call: ToolCall) -> _Route:
        """Choose what the call passes through, innermost first, and journal the beginning of a write."""
        if not self._selection_breaker.allow():
            # Of this call nothing will be known; it may write anything.
            return _Route(None, None, (), self._journal.begin(ANY_WRITE))
        in_force = self._source.current()
        self._adopt(in_force.plan)
        run = call.run
        selection = in_force.plan.select(run.command if run is not None else "", call.tool, call.effects)
        uses = tuple(self._uses(in_force, selection, run)) if run is not None and selection.rules else ()
        ticket = self._journal.begin(selection.key, scope_of(call)) if selection.may_write else None
        self._selection_breaker.succeeded()
        return _Route(in_force.plan, selection, uses, ticket)

    def _uses(self, in_force: InForce, selection: Selection, run: RunContext) -> Iterator[tuple[Middleware, Use]]:
        if not self._followed(in_force):
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
            elif middleware is self._preload and not self._preload.concerns(rule, selection.key.tool):
                enrolment = None
            else:
                enrolment = enrol(run, rule, self._process_unit)
            use = use_of(enrolment, rule) if enrolment is not None else None
            if use is not None:
                yield middleware, use

    def _begin_early(
        self,
        in_force: InForce,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
        *,
        streaming: bool = False,
    ) -> None:
        found = self._parallel.segments(in_force.plan, run, requests, functions, streaming=streaming)
        if found is None:
            return
        rule, segments = found
        if rule.decision.policy in in_force.killed_policies:
            return
        use = use_of(enrol(run, rule, self._process_unit), rule)
        breaker = self.faults.breakers[parallel_tools.NAME]
        if use is None or not breaker.allow():
            return
        try:
            asked = tuple(request.call_id for request in requests) if streaming else ()
            self._parallel.begin(use, run, segments, partial(self._already_answered, in_force, run), asked=asked)
        except Exception as error:
            self.faults.note(parallel_tools.NAME, error, run, use.policy)
        else:
            breaker.succeeded()

    def _grow_early(
        self,
        in_force: InForce,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
    ) -> bool:
        """Go on with a reply of which part is known; False where nothing of it has been begun."""
        batch = self._parallel.batch_of(run)
        if batch is None or batch.use.policy in in_force.killed_policies:
            return False
        return self._parallel.grow(in_force.plan, run, requests, functions)

    def _already_answered(self, in_force: InForce, run: RunContext) -> Callable[[ToolCall], bool]:
        """Return what tells the calls of one segment that the cache will answer: kept ones and repetitions."""
        seen: set[Hashable] = set()

        def answered(call: ToolCall) -> bool:
            rules = in_force.plan.select(run.command, call.tool, call.effects).rules
            ahead, rule = rules.get(preload.NAME), rules.get(tool_cache.NAME)
            if ahead is not None and self._preload.holds(ahead, call):
                return True
            if rule is None or rule.decision.policy in in_force.killed_policies:
                return False
            use = use_of(foreseen(run, rule, self._process_unit), rule)
            key = self._cache.key(use, call) if use is not None and not use.shadow else None
            if use is None or key is None:
                return False
            repeated = key in seen
            seen.add(key)
            return repeated or self._cache.holds(use, call)

        return answered

    def _followed(self, in_force: InForce) -> bool:
        """Tell whether decisions may be applied now: not killed, within the lease, and a kill would be seen."""
        return in_force.followed(self._clock.wall_ns()) and not self._source.stalled()

    def _passed(self, route: _Route, call: ToolCall, result: object) -> None:
        """A call has been made without error: what was asked for after it, or is foreseen after it, can begin."""
        run = call.run
        if run is None or route.plan is None:
            return
        batch = self._parallel.batch_of(run) if route.ticket is not None else None
        if batch is None and not route.plan.has(preload.NAME):
            return
        in_force = self._source.current()
        if batch is not None and self._followed(in_force) and batch.use.policy not in in_force.killed_policies:
            self._parallel.passed(run, call.tool)
        self._foresee(in_force, run, call, result)

    def _foresee(self, in_force: InForce, run: RunContext, call: ToolCall | None, result: object) -> None:
        """Begin what is foreseen after a call, or after the command where no call is given; never raises."""
        breaker = self.faults.breakers[preload.NAME]
        if not (in_force.plan.has(preload.NAME) and self._followed(in_force) and breaker.allow()):
            return
        for rule in self._preload.rules_of(in_force.plan):
            if rule.decision.policy in in_force.killed_policies:
                continue
            try:
                # Of the next command's reads it is the next command that is enrolled.
                use = partial(self._use, foreseen if call is None else enrol, rule, run)
                occasion = Occasion(in_force.plan, rule, run, use, self._already_answered(in_force, run))
                if call is None:
                    self._preload.foresight.run_ended(occasion)
                else:
                    self._preload.foresight.call_ended(occasion, call, result)
            except Exception as error:
                self.faults.note(preload.NAME, error, run, rule.decision.policy)
            else:
                breaker.succeeded()

    def _use(self, enrolling: Callable[[RunContext, Rule, str], Enrolment], rule: Rule, run: RunContext) -> Use | None:
        return use_of(enrolling(run, rule, self._process_unit), rule)

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
