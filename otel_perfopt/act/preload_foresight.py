"""What `preload` makes before anybody asks: ended calls and commands in, early calls under way out."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from otel_perfopt import conventions
from otel_perfopt.act.asker import asker_of
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.early_budget import EarlyBudgets
from otel_perfopt.act.early_call import EarlyCall
from otel_perfopt.act.early_start import early_twin, start_early
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.preload import PreloadParameters, PreloadRule
from otel_perfopt.act.preload_desk import PreloadDesk, parameters_of, policy_key
from otel_perfopt.act.preload_shelf import Foreseen, Shelf
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Plan, Rule
from otel_perfopt.act.speculation_pool import SpeculationPool
from otel_perfopt.analyse.next_command import predict_from
from otel_perfopt.signal.calls import RunContext, ToolCall

NAME: Final = "preload"
# The span of an early call is no step of the agent's: the agent's own call gets one when it comes.
_EARLY = {conventions.SPECULATIVE: True, conventions.STEP_KIND: conventions.STEP_OTHER}

# Whether the call is answered in another way already.
Answered = Callable[[ToolCall], bool]
Due = list[tuple[int, PreloadRule]]


@dataclass(frozen=True, slots=True)
class Occasion:
    """When rules are looked at: something of `run` has ended, and `rule` is the policy they belong to.

    `use_of` asks how the policy applies to the run, which may enrol it.
    """

    plan: Plan
    rule: Rule
    run: RunContext
    use_of: Callable[[], Use | None]
    answered: Answered


class Foresight:
    """Applies rules: those good enough make a call, in its turn and within the budget; the others only foresee it."""

    def __init__(self, desk: PreloadDesk, spans: CallSpans, pool: SpeculationPool, budgets: EarlyBudgets) -> None:
        self._budgets = budgets
        self._desk = desk
        self._spans = spans
        self._pool = pool

    def call_ended(self, occasion: Occasion, call: ToolCall, result: object) -> None:
        """A call of the agent has returned: begin what a rule foresees after it."""
        parameters, values = parameters_of(occasion.rule), self._desk.values(occasion.run)
        values.note(parameters.paths, call.tool, call.arguments, result)
        due = [
            (number, found)
            for number, found in enumerate(parameters.rules)
            if found.after == call.tool and values.resolve(found) is not None
        ]
        use = occasion.use_of() if due else None
        if use is not None:
            self._foresee(occasion, use, occasion.run.command, due)

    def run_ended(self, occasion: Occasion) -> None:
        """A command of a conversation has ended: begin what the next one will probably read first."""
        run, parameters, values = occasion.run, parameters_of(occasion.rule), self._desk.values(occasion.run)
        due = [
            (number, found)
            for number, found in enumerate(parameters.rules)
            if run.conversation_id and found.after_command == run.command and values.resolve(found) is not None
        ]
        use = occasion.use_of() if due else None
        if use is None:
            return
        likely = self._likely(parameters, run)
        for command in dict.fromkeys(found.command for _, found in due):
            if likely is None or command in likely:
                self._foresee(occasion, use, command, [item for item in due if item[1].command == command])

    def _foresee(self, occasion: Occasion, use: Use, command: str, due: Due) -> None:
        run, now_ns = occasion.run, self._desk.clock.monotonic_ns()
        shelf, floor = self._desk.shelf(run, now_ns), parameters_of(use.rule).min_precision
        self._desk.give_up(shelf.out_of_date(now_ns))
        for number, rule in due:
            item = self._foreseen(occasion, use, command, number) if rule.precision >= floor else None
            if item is None or occasion.answered(item.call):
                continue
            # What this command has asked for before needs no preload: that is a cache's business.
            if rule.after_command or not self._desk.values(run).was_made(item.key):
                self._put(shelf, use, run, item)
        self._fill(shelf, use)

    def _foreseen(self, occasion: Occasion, use: Use, command: str, number: int) -> Foreseen | None:
        parameters, run = parameters_of(use.rule), occasion.run
        rule = parameters.rules[number]
        template, arguments = self._spans.template(rule.call), self._desk.values(run).resolve(rule)
        if template is None or arguments is None:
            return None
        asker = asker_of(run, occasion.plan)
        selection = occasion.plan.select(command, rule.call, template.effects, asker)
        if selection.may_write or selection.rules.get(NAME) is not use.rule:
            return None
        twin = early_twin(template, run, arguments, _EARLY)
        if twin is None:
            return None
        now_ns = self._desk.clock.monotonic_ns()
        return Foreseen(
            call=twin[0],
            key=(*policy_key(use.rule), rule.call, twin[1]),
            use=use,
            rule=number,
            moment=self._desk.journal.now(),
            made_ns=now_ns,
            expires_ns=now_ns + int(parameters.ttl_s * 1e9),
            counted=use.shadow,
            context=contextvars.copy_context(),
        )

    def _put(self, shelf: Shelf, use: Use, run: RunContext, item: Foreseen) -> None:
        record = self._desk.record(use.rule)
        item.cost = record.cost(item.rule, parameters_of(use.rule).rules[item.rule].precision)
        calling = (
            not use.shadow
            and record.good(item.rule)
            and self._desk.tools.worth_starting(item.call.tool, budgeted=bool(use.rule.decision.budgets))
            and record.spend(item.cost)
        )
        if calling and not self._budgets.take(use.rule.decision.budgets, run.command):
            record.settle(item.cost, wasted=False)
            count(run, use.policy, conventions.POLICY_REFUSED)
            calling = False
        item.counted = item.counted or calling
        if not shelf.put(item):
            if calling:
                record.settle(item.cost, wasted=False)
            return
        if item.counted:
            count(run, use.policy, conventions.POLICY_STARTED)
            count(run, use.policy, conventions.POLICY_WASTED)
        if calling:
            shelf.queue(item)

    def _fill(self, shelf: Shelf, use: Use) -> None:
        start = partial(self._start, shelf, self._desk.generation)
        shelf.fill(parameters_of(use.rule).max_in_flight, self._desk.clock.monotonic_ns(), start)

    def _start(self, shelf: Shelf, generation: object, item: Foreseen, ended: Callable[[], None]) -> bool:
        moment = self._desk.journal.now()
        if generation is not self._desk.generation or not self._desk.quiet(item.use.rule, item.call, moment):
            return False
        early = EarlyCall(item.call.tool, item.key, moment, self._desk.clock)

        def done() -> None:
            ended()
            self._fill(shelf, item.use)

        item.early = early
        started = item.context.copy().run(start_early, early, item.call, self._spans, self._pool, done)
        if not started:
            item.early = None
        return started

    def _likely(self, parameters: PreloadParameters, run: RunContext) -> frozenset[str] | None:
        """Return the commands that may come next; None where no table says."""
        if not parameters.next_commands:
            return None
        before = [*self._desk.commands(run), run.command]
        return frozenset(name for name, _ in predict_from(parameters.next_commands, before))
