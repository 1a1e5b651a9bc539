"""The optimization `parallel_tools`: a reply's requests in, its read-only calls made early and joined out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.asker import asker_of
from otel_perfopt.act.call_key import call_key
from otel_perfopt.act.call_scope import scope_of
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.early_batch import Candidate, EarlyBatch, Segment
from otel_perfopt.act.early_budget import EarlyBudgets
from otel_perfopt.act.early_call import EarlyCall, EarlyState
from otel_perfopt.act.early_start import early_twin, start_early
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.parameters.parallel_tools import ParallelToolsParameters
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.private_copy import is_live
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Plan, Rule, ToolKey
from otel_perfopt.act.speculation_pool import SpeculationPool
from otel_perfopt.act.tool_record import ToolRecord
from otel_perfopt.act.write_journal import WriteJournal
from otel_perfopt.execution.model import ToolEffects
from otel_perfopt.signal.calls import RunContext, ToolCall, ToolRequest

NAME: Final = "parallel_tools"
MAX_REQUESTS = 128
Skip = Callable[[ToolCall], bool]
_SLOT = "perfopt.act.parallel_tools"


class ParallelTools:
    """Makes all read-only calls a reply asks for at once; the agent's own serial loop joins them.

    A call is joined when the agent makes it with the arguments that were asked for and no write has
    been under way since its early twin began. A write is a barrier: the calls asked for after it
    begin when it has been made.

    An early call that raised is never handed over. The plain call might have succeeded (the tool
    may be bound to the agent's thread), and since the tool is read-only it may be made again: the
    agent gets what the plain call gives, in its own thread, at the moment it would have. The price
    is that a failing read is no faster. Likewise for a result that is no data (an iterator, an open
    resource), and for an early call that takes unusually long, which may be waiting for a lock the
    agent holds.
    """

    name = NAME

    def __init__(
        self,
        journal: WriteJournal,
        patience: Patience,
        clock: Clock,
        spans: CallSpans,
        budgets: EarlyBudgets | None = None,
    ) -> None:
        self._budgets = budgets or EarlyBudgets(clock)
        self._journal = journal
        self._patience = patience
        self._clock = clock
        self._spans = spans
        self._pool = SpeculationPool()
        self._record = ToolRecord()
        self._generation = object()

    def segments(
        self,
        plan: Plan,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
        *,
        streaming: bool = False,
    ) -> tuple[Rule, list[Segment]] | None:
        """Return the rule that a reply falls under and the requests as it sees them.

        None when no rule finds two read-only calls with no other kind between them; one is enough while
        the reply still streams, since more is to come.
        """
        asked = requests[:MAX_REQUESTS]
        if len(asked) < 2 and not streaming:
            return None
        for rule in plan.rules:
            if rule.decision.optimization != NAME:
                continue
            segments = self._segments_of(plan, rule, run, asked, functions)
            if any(len(segment.candidates) >= _least(streaming=streaming) for segment in segments):
                return rule, segments
        return None

    def begin(
        self,
        use: Use,
        run: RunContext,
        segments: Sequence[Segment],
        skipper: Callable[[], Skip],
        *,
        asked: tuple[str, ...] = (),
    ) -> None:
        """Start the first calls of a reply; `skipper` gives, for one segment, what need not be made at all.

        `asked` are the ids of the requests where the reply still streams: `grow` takes in the others.
        """
        self.finish(run)
        batch = EarlyBatch(
            use,
            segments,
            _parameters(use.rule).max_concurrency,
            choose=lambda segment: _worth(use, segment, self._record, skipper(), _least(streaming=bool(asked))),
            start=partial(self._start, self._generation, use),
            on_wasted=self._record.wasted,
        )
        batch.asked = asked
        run.slots[_SLOT] = (self._generation, batch)
        self._count_started(run, use, batch.open_segment())

    def grow(
        self, plan: Plan, run: RunContext, requests: Sequence[ToolRequest], functions: Mapping[str, ToolCall]
    ) -> bool:
        """Take in the further requests of a streaming reply that was begun; False where these are of another reply."""
        batch = self.batch_of(run)
        if batch is None or not batch.asked:
            return False
        ids = tuple(request.call_id for request in requests[:MAX_REQUESTS])
        if ids[: len(batch.asked)] != batch.asked:
            return False
        more = requests[len(batch.asked) : MAX_REQUESTS]
        batch.asked = ids
        if more:
            segments = self._segments_of(plan, batch.use.rule, run, more, functions)
            self._count_started(run, batch.use, batch.grow(segments))
        return True

    def whole(self, run: RunContext) -> None:
        """The reply has arrived to its end: what comes next is another one, whatever ids it uses."""
        batch = self.batch_of(run)
        if batch is not None:
            batch.asked = ()

    def finish(self, run: RunContext) -> None:
        """A new reply has arrived: what was not claimed of the last one never will be."""
        batch = self.batch_of(run)
        if batch is not None:
            run.slots.pop(_SLOT, None)
            batch.close()

    def batch_of(self, run: RunContext | None) -> EarlyBatch | None:
        """Return the early calls of the run's last reply; none of a parent process."""
        found = run.slots.get(_SLOT) if run is not None else None
        if found is None or found[0] is not self._generation:
            return None
        batch: EarlyBatch = found[1]
        return batch

    def passed(self, run: RunContext, tool: str) -> None:
        """A call that may write has been made: what was asked for after it can begin."""
        batch = self.batch_of(run)
        if batch is not None:
            self._count_started(run, batch.use, batch.passed(tool))

    def around(self, use: Use, call: ToolCall, proceed: Proceed) -> Any:
        """Give the call's result, joining its early twin where there is one."""
        early, key = self._claim(use, call)
        if early is None:
            return self._plain(use, call, key, proceed)
        asked_ns = self._clock.monotonic_ns()
        state = early.wait(self._patience.limit_s(call.tool, _parameters(use.rule).max_wait_s))
        if self._usable(use, call, early, state, asked_ns):
            return early.result
        result = proceed(call)
        self._record.failed(call.tool)
        return result

    async def around_async(self, use: Use, call: ToolCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        early, key = self._claim(use, call)
        if early is None or early.task is None:
            return await self._plain_async(use, call, key, proceed)
        asked_ns = self._clock.monotonic_ns()
        state = await early.wait_async()
        if self._usable(use, call, early, state, asked_ns):
            return early.result
        result = await proceed(call)
        self._record.failed(call.tool)
        return result

    def close(self) -> None:
        """Start nothing any more."""
        self._pool.close()

    def after_fork(self) -> None:
        """Early calls of the parent never end here."""
        self._generation = object()
        self._pool.after_fork()

    def _claim(self, use: Use, call: ToolCall) -> tuple[EarlyCall | None, Hashable | None]:
        batch = self.batch_of(call.run)
        key = call_key(call.function, call.args, call.kwargs) if batch is not None else None
        if batch is None or key is None or use.shadow:
            return None, key
        early = batch.claim((call.tool, key))
        if early is not None and not self._quiet(use, call, early.moment):
            assert call.run is not None
            early.give_up()
            self._settled(use, call)
            count(call.run, use.policy, conventions.POLICY_DISCARDED)
            return None, key
        return early, key

    def _usable(self, use: Use, call: ToolCall, early: EarlyCall, state: EarlyState, asked_ns: int) -> bool:
        assert call.run is not None
        self._settled(use, call)
        if state is not EarlyState.READY or is_live(early.result):
            count(call.run, use.policy, conventions.POLICY_DISCARDED)
            return False
        self._record.claimed(call.tool)
        ended_ns = early.ended_ns or self._clock.monotonic_ns()
        self._patience.observe(call.tool, ended_ns - early.began_ns)
        count(call.run, use.policy, conventions.POLICY_CLAIMED)
        count(call.run, use.policy, conventions.POLICY_WASTED, -1)
        count(call.run, use.policy, conventions.POLICY_SAVED_NS, max(0, min(ended_ns, asked_ns) - early.began_ns))
        return True

    def _settled(self, use: Use, call: ToolCall) -> None:
        batch = self.batch_of(call.run)
        if batch is not None and call.run is not None:
            self._count_started(call.run, use, batch.settled())

    def _plain(self, use: Use, call: ToolCall, key: Hashable | None, proceed: Proceed) -> Any:
        began_ns = self._clock.monotonic_ns()
        result = proceed(call)
        self._observe(use, call, key, self._clock.monotonic_ns() - began_ns)
        return result

    async def _plain_async(self, use: Use, call: ToolCall, key: Hashable | None, proceed: ProceedAsync) -> Any:
        began_ns = self._clock.monotonic_ns()
        result = await proceed(call)
        self._observe(use, call, key, self._clock.monotonic_ns() - began_ns)
        return result

    def _observe(self, use: Use, call: ToolCall, key: Hashable | None, duration_ns: int) -> None:
        self._patience.observe(call.tool, duration_ns)
        batch = self.batch_of(call.run)
        if batch is None or not use.shadow or not batch.asks_for((call.tool, key)):
            return
        assert call.run is not None
        before_ns = batch.times.saved_ns()
        batch.times.durations_ns.append(duration_ns)
        count(call.run, use.policy, conventions.POLICY_CLAIMED)
        count(call.run, use.policy, conventions.POLICY_SAVED_NS, batch.times.saved_ns() - before_ns)

    def _start(self, generation: object, use: Use, call: ToolCall, key: Hashable) -> EarlyCall | None:
        run = call.run
        if generation is not self._generation or run is None:
            return None
        if not self._budgets.take(use.rule.decision.budgets, run.command):
            count(run, use.policy, conventions.POLICY_REFUSED)
            return None
        early = EarlyCall(call.tool, key, self._journal.now(), self._clock)
        return early if start_early(early, call, self._spans, self._pool) else None

    def _segments_of(
        self,
        plan: Plan,
        rule: Rule,
        run: RunContext,
        requests: Sequence[ToolRequest],
        functions: Mapping[str, ToolCall],
    ) -> list[Segment]:
        segments: list[Segment] = []
        candidates: list[Candidate] = []
        asker = asker_of(run, plan)
        for request in requests:
            template = functions.get(request.name)
            declared = template.effects if template is not None else ""
            if rule.effects(ToolKey(request.name, declared)) is not ToolEffects.READ:
                segments.append(Segment(tuple(candidates), request.name))
                candidates = []
            elif template is not None and rule.is_of(
                plan.select(run.command, request.name, declared, asker).rules.get(NAME)
            ):
                candidate = _candidate(run, request, template)
                if candidate is not None:
                    candidates.append(candidate)
        segments.append(Segment(tuple(candidates)))
        return segments

    def _quiet(self, use: Use, call: ToolCall, moment: int) -> bool:
        rule, read = use.rule, scope_of(call)
        return self._journal.quiet_since(moment, lambda write: rule.touches(write.key, write.scope, call.tool, read))

    def _count_started(self, run: RunContext, use: Use, started: int) -> None:
        if started:
            count(run, use.policy, conventions.POLICY_STARTED, started)
            count(run, use.policy, conventions.POLICY_WASTED, started)


def _parameters(rule: Rule) -> ParallelToolsParameters:
    parameters = rule.parameters
    assert isinstance(parameters, ParallelToolsParameters)
    return parameters


def _least(*, streaming: bool) -> int:
    # One call alone has nothing to run beside, but for the reply itself while it streams.
    return 1 if streaming else 2


def _worth(use: Use, segment: Segment, record: ToolRecord, skip: Skip, least: int) -> tuple[Candidate, ...]:
    budgeted = bool(use.rule.decision.budgets)
    kept = tuple(
        item
        for item in segment.candidates
        if record.worth_starting(item.call.tool, budgeted=budgeted) and not skip(item.call)
    )
    return kept if len(kept) >= least else ()


def _candidate(run: RunContext, request: ToolRequest, template: ToolCall) -> Candidate | None:
    if request.arguments is None:
        return None
    twin = early_twin(replace(template, requested=request), run, request.arguments, {conventions.SPECULATIVE: True})
    return None if twin is None else Candidate(twin[0], (request.name, twin[1]))
