"""The optimization `preload`: a call in, the result of the same read made before anybody asked out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from otel_perfopt import conventions
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.early_budget import EarlyBudgets
from otel_perfopt.act.early_call import EarlyState
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.preload_desk import PreloadDesk, foreseen_key, parameters_of, policy_key
from otel_perfopt.act.preload_foresight import NAME, Foresight
from otel_perfopt.act.preload_shelf import Foreseen
from otel_perfopt.act.private_copy import is_live
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Plan, Rule
from otel_perfopt.act.speculation_pool import SpeculationPool
from otel_perfopt.act.write_journal import WriteJournal
from otel_perfopt.signal.calls import RunContext, ToolCall

__all__ = ["NAME", "Preload"]


class Preload:
    """Makes the reads that mined rules foresee while the model thinks, or before the next command begins.

    The agent gets an early result only for exactly the arguments it was read with, in the conversation
    it was read for, within the time to live, and if no write that may touch it has been under way
    since. Otherwise, and where the early call failed or hangs, its own call is made as ever. Each rule
    is judged by what comes: one that is no longer right often enough foresees without calling.

    Counts, on commands' spans: `started` early calls, of which `wasted` nobody came for (taken back on
    the span of the command that claims one, so sums over runs are right), `claimed`, `discarded`.
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
        self._patience = patience
        self._spans = spans
        self._pool = SpeculationPool()
        self._desk = PreloadDesk(journal, clock)
        self.foresight = Foresight(self._desk, spans, self._pool, budgets or EarlyBudgets(clock))

    def around(self, use: Use, call: ToolCall, proceed: Proceed) -> Any:
        """Give the call's result, read already where that was foreseen."""
        item = self._claim(use, call)
        if item is None:
            return proceed(call)
        asked_ns = self._desk.clock.monotonic_ns()
        early = item.early
        if early is None or early.task is not None:
            return self._timed(use, call, item, proceed)
        state = early.wait(self._patience.limit_s(call.tool, parameters_of(use.rule).max_wait_s))
        if self._usable(use, call, item, state, asked_ns):
            return early.result
        result = proceed(call)
        self._desk.tools.failed(call.tool)
        return result

    async def around_async(self, use: Use, call: ToolCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        item = self._claim(use, call)
        if item is None:
            return await proceed(call)
        asked_ns = self._desk.clock.monotonic_ns()
        early = item.early
        if early is None or early.task is None or early.task.get_loop() is not asyncio.get_running_loop():
            result = await proceed(call)
            self._foreseen_only(use, call, item, asked_ns)
            return result
        state = await early.wait_async()
        if self._usable(use, call, item, state, asked_ns):
            return early.result
        result = await proceed(call)
        self._desk.tools.failed(call.tool)
        return result

    def concerns(self, rule: Rule, tool: str) -> bool:
        """Tell whether some rule of the policy makes calls of `tool`."""
        return tool in parameters_of(rule).calls

    def holds(self, rule: Rule, call: ToolCall) -> bool:
        """Tell whether an early result waits for this call."""
        key = foreseen_key(rule, call)
        return key is not None and any(shelf.holds(key) for shelf in self._desk.shelves(call.run))

    def rules_of(self, plan: Plan) -> Sequence[Rule]:
        """Return the plan's rules of this type."""
        return [rule for rule in plan.tool_rules if rule.decision.optimization == NAME]

    def settle(self, run: RunContext) -> None:
        """The command has ended."""
        self._desk.settle(run)

    def adopt(self, plan: Plan) -> None:
        """Forget what was foreseen, and how good rules were, by decisions that are no longer in force."""
        self._desk.keep_only(frozenset(policy_key(rule) for rule in self.rules_of(plan)))

    def close(self) -> None:
        """Start nothing any more."""
        self._pool.close()
        self._desk.drop()

    def after_fork(self) -> None:
        """Early calls of the parent never end here."""
        self._pool.after_fork()
        self._desk.reset()

    def _claim(self, use: Use, call: ToolCall) -> Foreseen | None:
        """Take what was foreseen of this call, if it may be used now."""
        run = call.run
        key = foreseen_key(use.rule, call) if run is not None else None
        if run is None or key is None:
            return None
        self._desk.values(run).made(key)
        record = self._desk.record(use.rule)
        record.earn()
        item = next((found for shelf in self._desk.shelves(run) if (found := shelf.take(key)) is not None), None)
        if item is None:
            return None
        now_ns = self._desk.clock.monotonic_ns()
        usable = item.expires_ns > now_ns and self._desk.quiet(
            use.rule, call, item.early.moment if item.early else item.moment
        )
        record.judge(item.rule, right=usable)
        if usable and use.shadow == item.use.shadow:
            return item
        if not usable and item.counted:
            count(run, use.policy, conventions.POLICY_DISCARDED)
            if not item.use.shadow:
                record.settle(item.cost, wasted=item.early is not None)
        if item.early is not None:
            item.early.give_up()
        return None

    def _usable(self, use: Use, call: ToolCall, item: Foreseen, state: EarlyState, asked_ns: int) -> bool:
        early, run = item.early, call.run
        assert early is not None
        assert run is not None
        # Writes that began while this waited make the result as old as those that came before.
        if state is not EarlyState.READY or is_live(early.result) or not self._desk.quiet(use.rule, call, early.moment):
            count(run, use.policy, conventions.POLICY_DISCARDED)
            return False
        self._desk.tools.claimed(call.tool)
        self._desk.record(use.rule).settle(item.cost, wasted=False)
        ended_ns = early.ended_ns or self._desk.clock.monotonic_ns()
        self._patience.observe(call.tool, ended_ns - early.began_ns)
        self._count_claim(run, use, max(0, min(ended_ns, asked_ns) - early.began_ns))
        call.span_attributes.update({conventions.SPECULATIVE: True, conventions.CACHE_HIT: True})
        self._spans.record_claim(call, early.result)
        return True

    def _timed(self, use: Use, call: ToolCall, item: Foreseen, proceed: Proceed) -> Any:
        asked_ns = self._desk.clock.monotonic_ns()
        result = proceed(call)
        self._foreseen_only(use, call, item, asked_ns)
        return result

    def _foreseen_only(self, use: Use, call: ToolCall, item: Foreseen, asked_ns: int) -> None:
        """The agent's call was foreseen, and no early one stood ready: in shadow, count what one would have saved."""
        assert call.run is not None
        if item.early is not None:
            item.early.give_up()
        took_ns = self._desk.clock.monotonic_ns() - asked_ns
        self._patience.observe(call.tool, took_ns)
        if use.shadow:
            self._count_claim(call.run, use, min(took_ns, asked_ns - item.made_ns))
        elif item.counted:
            # It was never begun, or in a loop that is not this one's.
            self._desk.record(use.rule).settle(item.cost, wasted=False)

    def _count_claim(self, run: RunContext, use: Use, saved_ns: int) -> None:
        count(run, use.policy, conventions.POLICY_CLAIMED)
        count(run, use.policy, conventions.POLICY_WASTED, -1)
        count(run, use.policy, conventions.POLICY_SAVED_NS, saved_ns)
