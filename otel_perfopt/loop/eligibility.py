"""Who a policy would touch and what it would save them: recorded runs in, eligible units and a predicted effect out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from statistics import fmean, stdev

from otel_perfopt.act.selection import ToolKey, resolve_effects
from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.opportunity import RULES
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.what_if import INPUT_TOKENS, WhatIf, WhatIfRule
from otel_perfopt.conventions import PREFERENCE
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.execution.model import Assignment, Execution, Step, StepKind, Target
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.signal.preference import known_preference
from otel_perfopt.verify import metric_kind
from otel_perfopt.verify.metric_kind import Test
from otel_perfopt.verify.plan_size import Expectation
from otel_perfopt.verify.units import CONVERSATION, USER, UnitTable
from otel_perfopt.verify.verdict import Unit

_DAY_NS = 86_400 * 10**9
# A rate over less than this says nothing of a day.
_LEAST_WINDOW_NS = 60 * 10**9
_MIN_UNITS = 5
_PLAN = "plan"


@dataclass(frozen=True, slots=True)
class Eligible:
    """What was recorded of the units a policy would touch.

    `units` of `units_in_all` had a call it would touch, in `runs` of `runs_in_all` runs; `predicted` is by
    metric the share of those runs' time or tokens it would have saved, replayed run by run (empty: no
    replay, or too few units), `assumes` with which parameters. `expected` has each metric's spread or rate among these units, as
    `plan_size` takes it.
    """

    units: int = 0
    units_in_all: int = 0
    runs: int = 0
    runs_in_all: int = 0
    units_per_day: float | None = None
    window_days: float | None = None
    predicted: Mapping[str, Interval] = field(default_factory=dict)
    seconds_per_run: Interval | None = None
    assumes: str = ""
    expected: Mapping[str, Expectation] = field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """The eligible share of all units."""
        return self.units / self.units_in_all if self.units_in_all else None


class Eligibility:
    """Looks at every run once for one policy; the savings are replayed where a what-if rule knows its type."""

    def __init__(self, policy: OptimizationPolicy) -> None:
        self._policy = policy
        self._rule = _rule_of(policy.spec.optimize.type)
        self._table = UnitTable()
        self._units = Units()
        self._repetitions = Repetitions()
        self._in_all: set[str] = set()
        self._target = Target()
        self._runs = self._runs_in_all = 0
        self._first_ns: int | None = None
        self._last_ns = 0

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account; runs of a conversation come in order of start."""
        self._runs_in_all += 1
        self._in_all.add(self._unit(execution))
        start_ns = execution.command.start_ns
        self._first_ns = start_ns if self._first_ns is None else min(self._first_ns, start_ns)
        self._last_ns = max(self._last_ns, execution.command.end_ns)
        run = _as_declared(execution, self._policy)
        what_ifs = self._imagined(run)
        if not self._touches(run, what_ifs):
            return
        self._runs += 1
        self._table.observe(replace(run, arms={_PLAN: Assignment("baseline", _PLAN, _PLAN, 0.5)}))
        helped = [one for one in what_ifs if one.calls]
        if self._rule is not None and self._rule.metric == INPUT_TOKENS:
            saved_tokens = sum(sum(one.tokens.values()) for one in helped)
            self._units.add(run, {metric_kind.TOKENS: float(run.tokens.total or 0), "saved": float(saved_tokens)})
        elif run.timed:
            saved = min(run.duration_s, sum(_saved_s(RunView.of(run), one) for one in helped))
            self._units.add(run, {metric_kind.LATENCY: run.duration_s, "saved": saved, "runs": 1.0})

    def result(self) -> Eligible:
        """Return what was seen."""
        unit = USER if self._policy.spec.rollout.unit == USER else CONVERSATION
        units = list(self._table.units(_PLAN, _PLAN, unit=unit))
        window_ns = self._last_ns - self._first_ns if self._first_ns is not None else 0
        per_day = len(units) * _DAY_NS / window_ns if window_ns >= _LEAST_WINDOW_NS else None
        known = self._rule is not None and self._units.count > 0
        return Eligible(
            units=len(units),
            units_in_all=len(self._in_all),
            runs=self._runs,
            runs_in_all=self._runs_in_all,
            units_per_day=per_day,
            window_days=window_ns / _DAY_NS if window_ns else None,
            predicted=self._predicted() if known else {},
            seconds_per_run=self._units.ratio("saved", "runs") if known else None,
            assumes=_assumptions(self._rule, self._target),
            expected=_expectations(units),
        )

    def _predicted(self) -> dict[str, Interval]:
        assert self._rule is not None
        metric = metric_kind.TOKENS if self._rule.metric == INPUT_TOKENS else metric_kind.LATENCY
        found = self._units.ratio("saved", metric)
        return {metric: found} if found is not None else {}

    def _unit(self, execution: Execution) -> str:
        return execution.user_id if self._policy.spec.rollout.unit == USER else execution.conversation_id

    def _imagined(self, run: Execution) -> Sequence[WhatIf]:
        if self._rule is None:
            return ()
        view = RunView.of(run)
        view.repetition = self._repetitions.observe(run)
        found = [one for one in self._rule.imagine(view) if self._matches(one.target)]
        self._target = found[0].target if found else self._target
        return found

    def _touches(self, run: Execution, what_ifs: Sequence[WhatIf]) -> bool:
        """Tell whether the policy would enrol the run: it has a call that is matched and not excluded.

        Of people only preferences that runs state are known here.
        """
        if not self._is_for(run):
            return False
        if self._rule is not None:
            return bool(what_ifs)
        spec = self._policy.spec
        kinds = {StepKind.TOOL, StepKind.RETRIEVAL} if spec.kind.read_only or spec.match.tool else {StepKind.INFERENCE}
        return any(step.kind in kinds and self._eligible(run, step) for step in run.steps)

    def _is_for(self, run: Execution) -> bool:
        preference = known_preference(run.command.attributes.get(PREFERENCE))
        match, exclude = self._policy.spec.match, self._policy.spec.exclude
        return (not match.preference or preference in match.preference) and preference not in exclude.preference

    def _eligible(self, run: Execution, step: Step) -> bool:
        spec, command = self._policy.spec, run.command.name
        if step.kind is StepKind.INFERENCE:
            model = step.target.model
            meant = _names(spec.match.model, model) and not _excluded(spec.exclude.model, model)
            return meant and self._matches(Target(command=command))
        return (
            self._matches(Target(command=command, tool=step.name))
            and step.effects.value not in spec.exclude.tool_effects
        )

    def _matches(self, target: Target) -> bool:
        match, exclude = self._policy.spec.match, self._policy.spec.exclude
        named = (
            (match.command, exclude.command, target.command),
            (match.tool, exclude.tool, target.tool),
            (match.model, exclude.model, target.model),
        )
        return all(_names(meant, name) and not _excluded(left_out, name) for meant, left_out, name in named if name)


def _rule_of(optimization: str) -> WhatIfRule | None:
    found = next((make for make in RULES if make().optimization == optimization), None)
    return found() if found is not None else None


def _as_declared(execution: Execution, policy: OptimizationPolicy) -> Execution:
    """Return the run with its tools' effects as the policy declares them."""
    effects = policy.spec.effects
    if not effects:
        return execution
    steps = tuple(
        replace(step, effects=resolve_effects(ToolKey(step.name, step.effects.value), effects))
        if step.kind is StepKind.TOOL
        else step
        for step in execution.steps
    )
    return replace(execution, steps=steps)


def _saved_s(run: RunView, what_if: WhatIf) -> float:
    saved_ns = run.replay(what_if.changes).saved_ns if what_if.saved_ns is None else what_if.saved_ns
    return max(0.0, saved_ns / 1e9)


def _assumptions(rule: WhatIfRule | None, target: Target) -> str:
    if rule is None:
        return ""
    told = ", ".join(f"{name} {value}" for name, value in rule.parameters(target).items())
    bound = "an upper bound: " if rule.upper_bound else ""
    return f"{bound}each recorded run replayed with {rule.optimization}{f' ({told})' if told else ''}"


def _expectations(units: Sequence[Unit]) -> dict[str, Expectation]:
    """Return each metric's spread or rate among units; a metric that fewer than five state is left out."""
    found: dict[str, Expectation] = {}
    for metric in sorted({metric for unit in units for metric in unit.values}):
        values = [unit.values[metric] for unit in units if metric in unit.values]
        if len(values) >= _MIN_UNITS:
            expected = _expectation(metric, values)
            if expected is not None:
                found[metric] = expected
    return found


def _expectation(metric: str, values: Sequence[float]) -> Expectation | None:
    kind = metric_kind.metric_kind(metric)
    if kind.test is Test.EVENT:
        # Where none was seen there may be one in twice as many (the rule of succession's half).
        return Expectation(rate=max(fmean(values), 0.5 / len(values)))
    if kind.test is Test.LOG_MEAN:
        logs = [math.log(max(value, kind.floor)) for value in values if max(value, kind.floor) > 0]
        return Expectation(spread=max(stdev(logs), 1e-3)) if len(logs) >= _MIN_UNITS else None
    middle = fmean(values)
    return Expectation(spread=max(stdev(values) / middle, 1e-3)) if middle > 0 else None


def _names(patterns: Iterable[str], name: str) -> bool:
    listed = tuple(patterns)
    return not listed or any(fnmatchcase(name, pattern) for pattern in listed)


def _excluded(patterns: Iterable[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
