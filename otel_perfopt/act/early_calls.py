"""Calls that begin before the agent makes them: replies and finished calls in, early starts by the policies in force out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from otel_perfopt.act import batch_tools, parallel_tools, preload, tool_cache, tool_retry
from otel_perfopt.act.asker import asker_of
from otel_perfopt.act.batch_tools import BatchTools
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.early_budget import EarlyBudgets
from otel_perfopt.act.enrolment import Use, enrol, foreseen
from otel_perfopt.act.fault_log import FaultLog
from otel_perfopt.act.link import Link
from otel_perfopt.act.parallel_tools import ParallelTools
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.preload import Preload
from otel_perfopt.act.preload_foresight import Occasion
from otel_perfopt.act.selection import Plan
from otel_perfopt.act.snapshot_source import InForce
from otel_perfopt.act.standing import Standing
from otel_perfopt.act.tool_cache import ToolCache
from otel_perfopt.act.tool_retry import ToolRetry
from otel_perfopt.act.write_journal import WriteJournal
from otel_perfopt.signal.calls import RunContext, ToolCall, ToolRequest


class EarlyCalls:
    """Starts what a reply asks for and what usually comes next, unless the cache will answer it; never raises."""

    def __init__(
        self,
        standing: Standing,
        faults: FaultLog,
        *,
        journal: WriteJournal,
        patience: Patience,
        clock: Clock,
        spans: CallSpans,
        cache: ToolCache,
        batch: BatchTools,
        retry: ToolRetry,
        adopt: Callable[[Plan], None],
    ) -> None:
        self._standing = standing
        self._faults = faults
        self._spans = spans
        self._cache = cache
        self._batch = batch
        self._retry = retry
        self._adopt = adopt
        self._link = Link(faults, repeatable=False)
        self._repeating_link = Link(faults, repeatable=True)
        early = replace(spans, execute=self._execute, execute_async=self._execute_async)
        # What a reply asks for is made again when it fails, as if the agent had made it; what is only foreseen is not.
        asked = replace(spans, execute=self._persist, execute_async=self._persist_async)
        self.budgets = EarlyBudgets(clock)
        self.parallel = ParallelTools(journal, patience, clock, asked, self.budgets)
        self.preload = Preload(journal, patience, clock, early, self.budgets)

    def on_reply(
        self,
        in_force: InForce,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
    ) -> None:
        """A model's reply asks for `requests`: start early what may be started."""
        try:
            self._adopt(in_force.plan)
            if not self._standing.followed(in_force):
                self.parallel.finish(run)
            elif self._grow(in_force, run, requests, functions):
                self.parallel.whole(run)
            else:
                self.parallel.finish(run)
                self._begin(in_force, run, requests, functions)
        except Exception as error:
            self._faults.note(parallel_tools.NAME, error, run)

    def on_reply_part(
        self,
        in_force: InForce,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
    ) -> None:
        """A reply that still streams asks for `requests` so far: start early what may be started."""
        try:
            if not in_force.plan.has(parallel_tools.NAME):
                return
            self._adopt(in_force.plan)
            if self._standing.followed(in_force) and not self._grow(in_force, run, requests, functions):
                self._begin(in_force, run, requests, functions, streaming=True)
        except Exception as error:
            self._faults.note(parallel_tools.NAME, error, run)

    def run_ended(self, in_force: InForce, run: RunContext) -> None:
        """A command has ended: what the next one of its conversation will probably read may be read now."""
        try:
            if not in_force.plan.has(preload.NAME):
                return
            self._adopt(in_force.plan)
            self._foresee(in_force, run, None, None)
            self.preload.settle(run)
        except Exception as error:
            self._faults.note(preload.NAME, error, run)

    def passed(self, plan: Plan, run: RunContext, call: ToolCall, result: object, *, wrote: bool) -> None:
        """A call has been made without error: what was asked for after it, or is foreseen after it, can begin."""
        batch = self.parallel.batch_of(run) if wrote else None
        if batch is None and not plan.has(preload.NAME):
            return
        in_force = self._standing.in_force()
        followed = self._standing.followed(in_force)
        if batch is not None and followed and batch.use.policy not in in_force.killed_policies:
            self.parallel.passed(run, call.tool)
        self._foresee(in_force, run, call, result)

    def close(self) -> None:
        """End the threads that make calls early."""
        self.parallel.close()
        self.preload.close()

    def after_fork(self) -> None:
        """Leave the parent's threads and early calls behind; called in the child."""
        self.budgets.after_fork()
        self.parallel.after_fork()
        self.preload.after_fork()

    def _begin(
        self,
        in_force: InForce,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
        *,
        streaming: bool = False,
    ) -> None:
        found = self.parallel.segments(in_force.plan, run, requests, functions, streaming=streaming)
        if found is None:
            return
        rule, segments = found
        if rule.decision.policy in in_force.killed_policies:
            return
        use = self._standing.use(enrol, rule, run)
        breaker = self._faults.breakers[parallel_tools.NAME]
        if use is None or not breaker.allow():
            return
        try:
            asked = tuple(request.call_id for request in requests) if streaming else ()
            self.parallel.begin(use, run, segments, partial(self._already_answered, in_force, run), asked=asked)
        except Exception as error:
            self._faults.note(parallel_tools.NAME, error, run, use.policy)
        else:
            breaker.succeeded()

    def _grow(
        self,
        in_force: InForce,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
    ) -> bool:
        """Go on with a reply of which part is known; False where nothing of it has been begun."""
        batch = self.parallel.batch_of(run)
        if batch is None or batch.use.policy in in_force.killed_policies:
            return False
        return self.parallel.grow(in_force.plan, run, requests, functions)

    def _already_answered(self, in_force: InForce, run: RunContext) -> Callable[[ToolCall], bool]:
        """Return what tells the calls of one segment that the cache will answer: kept ones and repetitions."""
        seen: set[Hashable] = set()
        asker = asker_of(run, in_force.plan)

        def answered(call: ToolCall) -> bool:
            rules = in_force.plan.select(run.command, call.tool, call.effects, asker).rules
            ahead, rule = rules.get(preload.NAME), rules.get(tool_cache.NAME)
            if ahead is not None and self.preload.holds(ahead, call):
                return True
            if rule is None or rule.decision.policy in in_force.killed_policies:
                return False
            use = self._standing.use(foreseen, rule, run)
            key = self._cache.key(use, call) if use is not None and not use.shadow else None
            if use is None or key is None:
                return False
            repeated = key in seen
            seen.add(key)
            return repeated or self._cache.holds(use, call)

        return answered

    def _foresee(self, in_force: InForce, run: RunContext, call: ToolCall | None, result: object) -> None:
        """Begin what is foreseen after a call, or after the command where no call is given; never raises."""
        breaker = self._faults.breakers[preload.NAME]
        if not (in_force.plan.has(preload.NAME) and self._standing.followed(in_force) and breaker.allow()):
            return
        for rule in self.preload.rules_of(in_force.plan):
            if rule.decision.policy in in_force.killed_policies:
                continue
            try:
                # Of the next command's reads it is the next command that is enrolled.
                use = partial(self._standing.use, foreseen if call is None else enrol, rule, run)
                occasion = Occasion(in_force.plan, rule, run, use, self._already_answered(in_force, run))
                if call is None:
                    self.preload.foresight.run_ended(occasion)
                else:
                    self.preload.foresight.call_ended(occasion, call, result)
            except Exception as error:
                self._faults.note(preload.NAME, error, run, rule.decision.policy)
            else:
                breaker.succeeded()

    def _persist(self, call: ToolCall) -> Any:
        """Make a call that a reply asks for, more than once where it fails in passing."""
        use = self._use(tool_retry.NAME, call)
        if use is None:
            return self._execute(call)
        return self._repeating_link.through(self._retry, use, self._execute, call)

    async def _persist_async(self, call: ToolCall) -> Any:
        use = self._use(tool_retry.NAME, call)
        if use is None:
            return await self._execute_async(call)
        return await self._repeating_link.through_async(self._retry, use, self._execute_async, call)

    def _execute(self, call: ToolCall) -> Any:
        """Make a call that was started early: together with others, where they may go together."""
        use = self._use(batch_tools.NAME, call)
        if use is None:
            return self._spans.execute(call)
        return self._link.through(self._batch, use, self._spans.execute, call)

    async def _execute_async(self, call: ToolCall) -> Any:
        use = self._use(batch_tools.NAME, call)
        if use is None:
            return await self._spans.execute_async(call)
        return await self._link.through_async(self._batch, use, self._spans.execute_async, call)

    def _use(self, optimization: str, call: ToolCall) -> Use | None:
        try:
            in_force, run = self._standing.in_force(), call.run
            if run is None or not in_force.plan.has(optimization) or not self._standing.followed(in_force):
                return None
            asker = asker_of(run, in_force.plan)
            rules = in_force.plan.select(run.command, call.tool, call.effects, asker).rules
            rule = rules.get(optimization)
            if rule is None or rule.decision.policy in in_force.killed_policies:
                return None
            if optimization == tool_retry.NAME and not self._retry.concerns(rule, call.tool):
                return None
            return self._standing.use(enrol, rule, run)
        except Exception as error:
            self._faults.note(optimization, error, call.run)
            return None
