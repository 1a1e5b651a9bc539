"""Hot spots: runs in, the tools, models and own code that most of the runs' time waits on out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Interval
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import AGENT, OTHER, PERSON, model_of
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.analyse.wording import percent, percent_range, seconds
from otel_perfopt.execution.model import Execution, Step, StepKind, Target, ToolEffects
from otel_perfopt.execution.schedule import Changes
from otel_perfopt.measure.sketch import QuantileSketch

MIN_SHARE = 0.15
MIN_SURE_SHARE = 0.05
MIN_RUNS = 3
SUSPICIOUS_RATIO = 5.0
REPLAYED_SHARE = 0.1
# A model is no hot spot for taking most of the time, which is what models do, but for taking more
# of it than its share of the calls.
MIN_MODEL_EXCESS = 1.5

_Key = tuple[str, str]
_TOOL, _MODEL = "tool", "model"
_AGENT_KEY, _PERSON_KEY, _THINKING_KEY = (AGENT, AGENT), (PERSON, PERSON), ("thinking", "thinking")
_ALL, _ACTIVE, _HALF = ("", "all"), ("", "active"), "half"
_TARGETS = {_TOOL: lambda name: Target(tool=name), _MODEL: lambda name: Target(model=name)}


@dataclass(slots=True)
class _Component:
    calls: int = 0
    estimated: int = 0
    writing: int = 0
    durations: QuantileSketch = field(default_factory=QuantileSketch)
    runs: int = 0
    critical_ns: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class Hotspot:
    """Finds what at least 15 % of the runs' critical time is spent in; time that is a person's is left out of it."""

    name = "hotspot"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._components: BoundedTable[_Key, _Component] = BoundedTable(_Component, overflow=(_TOOL, OTHER), limit=300)
        self._units = Units()

    def observe(self, execution: Execution) -> None:
        """Take one run into account; runs without a clock say nothing here."""
        if not execution.timed:
            return
        keys = {step.span_id: _key(step) for step in execution.steps}
        for step in execution.steps:
            key = keys[step.span_id]
            if key is not None:
                component = self._components[key]
                component.calls += 1
                component.estimated += step.estimated
                component.writing += step.effects is not ToolEffects.READ
                component.durations.add(step.duration_s)
        spent: Counter[_Key] = Counter()
        longest: dict[_Key, tuple[int, Step]] = {}
        run = RunView.of(execution)
        for segment in run.path:
            key = (None if segment.step is execution.command else keys[segment.step.span_id]) or _AGENT_KEY
            spent[key] += segment.length_ns
            if segment.length_ns > longest.get(key, (0, segment.step))[0]:
                longest[key] = (segment.length_ns, segment.step)
        self._add(execution, spent, longest)
        self._units.add(execution, _halved(run, spent, keys))

    def _add(self, execution: Execution, spent: Counter[_Key], longest: dict[_Key, tuple[int, Step]]) -> None:
        seconds_by_key: dict[Hashable, float] = {key: value / 1e9 for key, value in spent.items()}
        total = sum(seconds_by_key.values())
        active = total - seconds_by_key.get(_PERSON_KEY, 0.0)
        self._units.add(execution, seconds_by_key | {_ALL: total, _ACTIVE: active})
        for key, nanoseconds in spent.items():
            component = self._components[key]
            component.runs += 1
            component.critical_ns += nanoseconds
            if not component.evidence.wants(nanoseconds):
                continue
            length, step = longest[key]
            note = f"{seconds(length / 1e9)} in one stretch of {seconds(nanoseconds / 1e9)} in this run"
            component.evidence.add(nanoseconds, execution, step, note)

    def findings(self) -> list[Finding]:
        """Return one finding a hot component, and one for the time people were waited for."""
        found = []
        for key, component in self._components.rows.items():
            share = self._units.ratio(key, _ALL if key == _PERSON_KEY else _ACTIVE, seed=self._seed)
            if share is None or component.runs < MIN_RUNS or not self._hot(key, component, share):
                continue
            found.append(self._person(component, share) if key == _PERSON_KEY else self._hotspot(key, component, share))
        return found

    def _hot(self, key: _Key, component: _Component, share: Interval) -> bool:
        if share.estimate < MIN_SHARE or share.low < MIN_SURE_SHARE or key == _THINKING_KEY:
            return False
        if key[0] != _MODEL:
            return True
        rows = [(other[1], row) for other, row in self._components.rows.items() if other[0] == _MODEL]
        calls, spent = sum(row.calls for _, row in rows), sum(row.critical_ns for _, row in rows)
        return len(rows) > 1 and component.critical_ns * calls > MIN_MODEL_EXCESS * spent * component.calls

    def _hotspot(self, key: _Key, component: _Component, share: Interval) -> Finding:
        kind, name = key
        half = self._units.ratio((_HALF, key), _ACTIVE, seed=self._seed) or share
        if key == _AGENT_KEY:
            summary = (
                f"In {percent_range(share)} of the runs' time no step was running: "
                "the agent's own code, or work that is not instrumented."
            )
        else:
            mean = component.critical_ns / 1e9 / max(1, component.calls)
            summary = (
                f"{percent_range(share)} of the runs' time waits on {kind} {name} ({component.calls:,} calls, "
                f"{seconds(mean)} each on the critical path); twice as fast, it would save {percent(half.estimate)}"
                f"{_doubts(component)}."
            )
        return Finding(
            kind="hotspot",
            target=_TARGETS[kind](name) if kind in _TARGETS else Target(),
            summary=summary,
            detector=self.name,
            effect=Effect("latency", "s", share, _per_run(share, component)),
            occurrences=component.calls,
            runs=component.runs,
            evidence=component.evidence.kept(),
        )

    def _person(self, component: _Component, share: Interval) -> Finding:
        return Finding(
            kind="person_wait",
            target=Target(),
            summary=f"{percent_range(share)} of the runs' time is spent waiting for a person's answer or permission.",
            detector=self.name,
            effect=Effect("latency", "s", share, _per_run(share, component)),
            occurrences=component.calls,
            runs=component.runs,
            evidence=component.evidence.kept(),
        )


def _halved(run: RunView, spent: Counter[_Key], keys: Mapping[str, _Key | None]) -> dict[Hashable, float]:
    """Return by component the seconds that the run would have been shorter with its calls twice as fast.

    Replayed where the component has a tenth of the run's time; below that, half its critical time.
    """
    total = sum(spent.values())
    saved: dict[Hashable, float] = {}
    for key, nanoseconds in spent.items():
        if key[0] not in _TARGETS:
            continue
        saved_ns = nanoseconds / 2
        if nanoseconds > REPLAYED_SHARE * total:
            steps = [step for step in run.execution.steps if keys[step.span_id] == key]
            halves = {step.span_id: max(0, step.end_ns - step.start_ns) // 2 for step in steps}
            saved_ns = run.replay(Changes(durations_ns=halves)).saved_ns
        saved[_HALF, key] = saved_ns / 1e9
    return saved


def _doubts(component: _Component) -> str:
    if component.estimated * 2 > component.calls:
        return "; most of its durations are inferred and may include waits for a permission"
    middle = component.durations.quantile(0.5) or 0.0
    mean = component.critical_ns / 1e9 / max(1, component.calls)
    # Work hardly varies so much; the time a person takes to allow it does.
    if component.writing * 2 > component.calls and mean > SUSPICIOUS_RATIO * middle:
        return f"; but half of its calls take under {seconds(middle)}, and the long ones may include waits for a permission"
    return ""


def _per_run(share: Interval, component: _Component) -> Interval | None:
    if share.estimate <= 0 or not component.runs:
        return None
    scale = component.critical_ns / 1e9 / component.runs / share.estimate
    return Interval(share.estimate * scale, share.low * scale, share.high * scale, share.level)


def _key(step: Step) -> _Key | None:
    if waits_for_person(step):
        return _PERSON_KEY
    if step.kind in (StepKind.TOOL, StepKind.RETRIEVAL):
        return _TOOL, step.name
    if step.kind is StepKind.INFERENCE:
        return _MODEL, model_of(step)
    return _THINKING_KEY if step.kind is StepKind.THINKING else None
