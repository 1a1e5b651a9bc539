"""Modules loaded too early: runs in, services whose starts load what nothing uses until later, or ever, out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import numpy as np

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import ratio_interval
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wording import counted, percent, percent_range, seconds
from otel_perfopt.execution.model import Execution, Step, StepKind, Target

MIN_STARTS: Final = 5
MAX_STARTS: Final = 500
MAX_MODULES: Final = 50
# What makes up less of a start is not worth a name in a policy.
MIN_SHARE: Final = 0.01
# In how many starts a module must have been loaded in vain to count.
MIN_SEEN: Final = 0.5
# A module that most processes use comes from the background instead, if there is the time; one that few use does not.
MOSTLY, HARDLY = 0.5, 0.2
# When loading in the background begins, as `lazy_import` does it.
PREFETCH_AFTER_S: Final = 1.0
_NAMED: Final = 5


@dataclass(slots=True)
class _Start:
    """One process: what its start took, what each module that could wait did of it, and when those were first used."""

    whole_s: float
    spared: dict[str, float]
    used: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Service:
    starts: dict[str, _Start] = field(default_factory=dict)
    early: dict[str, dict[str, float]] = field(default_factory=dict)
    evidence: TopEvidence = field(default_factory=TopEvidence)

    def began(self, trace_id: str, start: _Start) -> None:
        start.used |= self.early.pop(trace_id, {})
        if len(self.starts) < MAX_STARTS:
            self.starts[trace_id] = start

    def use(self, trace_id: str, name: str, after_s: float) -> None:
        start = self.starts.get(trace_id)
        if start is not None:
            start.used.setdefault(name, after_s)
        elif len(self.early) < MAX_STARTS:
            # A start is told when it is over, a use when it happens.
            self.early.setdefault(trace_id, {}).setdefault(name, after_s)


@dataclass(frozen=True, slots=True)
class LateModule:
    """A module that starts load and do not use.

    `spared_s` is what a start would save without it (median), `used` the share of processes that used
    it at all, and `after_s` how long after the start they first did (median; None: nobody did).
    """

    name: str
    spared_s: float
    used: float
    after_s: float | None


class ModuleStart:
    """Finds what the starts of a service's processes load for later, and in which order it is used then.

    A start is known where imports are measured (`PERFOPT_MODULE_LOADS`). The agent's process says
    which of its imports could wait and what a start would save by that; a module that most processes
    use before it could come from the background is left alone, since that would only move the wait.
    """

    name = "module_start"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._services: BoundedTable[str, _Service] = BoundedTable(_Service, overflow=OTHER, limit=100)

    def observe(self, execution: Execution) -> None:
        """Take one run into account; a start is a run that loads `__main__`."""
        service = execution.command.target.service
        for step in execution.steps:
            if step.kind is StepKind.OTHER and c.MODULE_USED_AFTER in step.attributes:
                trace_id, after_s = step.attributes.get(c.MODULE_START), step.attributes[c.MODULE_USED_AFTER]
                if isinstance(trace_id, str) and isinstance(after_s, int | float):
                    self._services[service].use(trace_id, str(step.attributes.get(c.MODULE_NAME)), float(after_s))
        if is_start(execution):
            start = _start(execution.steps)
            self._services[service].began(execution.trace_id, start)
            spared_s = sum(start.spared.values())
            note = f"{seconds(spared_s)} of {seconds(start.whole_s)} for modules that were not used yet"
            self._services[service].evidence.add(spared_s, execution, execution.steps[0], note)

    def findings(self) -> list[Finding]:
        """Return one finding for each service whose starts would surely be shorter."""
        found = []
        for name, service in self._services.rows.items():
            late = late_modules(tuple(service.starts.values()))
            finding = self._finding(name, service, late) if late else None
            if finding is not None:
                found.append(finding)
        return found

    def _finding(self, name: str, service: _Service, late: Sequence[LateModule]) -> Finding | None:
        starts = tuple(service.starts.values())
        names = {module.name for module in late}
        spared = np.array([sum(taken for one, taken in start.spared.items() if one in names) for start in starts])
        wholes = np.array([start.whole_s for start in starts])
        relative = ratio_interval(spared, wholes, seed=self._seed)
        if relative.low < MIN_SHARE:
            return None
        each = ratio_interval(spared, np.ones(len(starts)), seed=self._seed)
        return Finding(
            kind="late_import",
            target=Target(service=name),
            summary=_summary(name, starts, late, relative, each),
            detector=self.name,
            effect=Effect("start_time", "s", relative, each),
            occurrences=len(starts),
            runs=len(starts),
            evidence=service.evidence.kept(),
            suggestion=Suggestion("lazy_import", _parameters(late), {"command": ("*",)}),
        )


def is_start(execution: Execution) -> bool:
    """Tell whether a run is the start of a process."""
    first = execution.steps[0] if execution.steps else None
    return first is not None and first.kind is StepKind.MODULE_LOAD and first.name == c.MODULE_MAIN


def late_modules(starts: Sequence[_Start]) -> tuple[LateModule, ...]:
    """Return what starts load for later, what takes longest first; empty where there are fewer than five starts."""
    if len(starts) < MIN_STARTS:
        return ()
    whole_s = median(start.whole_s for start in starts)
    found = []
    for name in sorted({name for start in starts for name in start.spared}):
        loading = [start for start in starts if name in start.spared]
        spared_s = median(start.spared[name] for start in loading)
        if len(loading) < MIN_SEEN * len(starts) or spared_s < MIN_SHARE * whole_s:
            continue
        after = [start.used[name] for start in loading if name in start.used]
        found.append(LateModule(name, spared_s, len(after) / len(loading), median(after) if after else None))
    found.sort(key=lambda module: (-module.spared_s, module.name))
    return tuple(_in_time(found))[:MAX_MODULES]


def _in_time(modules: Sequence[LateModule]) -> Iterator[LateModule]:
    """Leave out what most processes use sooner than the background could have loaded it, in the order of use."""
    ready_s = PREFETCH_AFTER_S
    too_soon = set()
    for module in sorted(modules, key=_when_used):
        if module.used >= HARDLY:
            if module.used >= MOSTLY and (module.after_s or 0.0) < ready_s + module.spared_s:
                too_soon.add(module.name)
            else:
                ready_s += module.spared_s
    yield from (module for module in modules if module.name not in too_soon)


def _when_used(module: LateModule) -> tuple[float, str]:
    return (float("inf") if module.after_s is None else module.after_s, module.name)


def _parameters(late: Sequence[LateModule]) -> dict[str, object]:
    """Return which modules wait, and in which order those that will be used come from the background."""
    ahead = [module.name for module in sorted(late, key=_when_used) if module.used >= HARDLY]
    parameters: dict[str, object] = {"modules": tuple(module.name for module in late)}
    return {**parameters, "prefetch": tuple(ahead)} if ahead else parameters


def _start(steps: Sequence[Step]) -> _Start:
    spared: dict[str, float] = {}
    for step in steps:
        taken_s = step.attributes.get(c.MODULE_SPARED_TIME)
        if step.kind is StepKind.MODULE_LOAD and isinstance(taken_s, int | float) and taken_s > 0:
            spared[step.name] = spared.get(step.name, 0.0) + float(taken_s)
    return _Start(steps[0].duration_s, spared)


def _summary(
    name: str, starts: Sequence[_Start], late: Sequence[LateModule], relative: Interval, each: Interval
) -> str:
    told = ", ".join(f"{module.name} ({seconds(module.spared_s)}, {_used(module)})" for module in late[:_NAMED])
    more = f" and {counted(len(late) - _NAMED, 'more module')}" if len(late) > _NAMED else ""
    whole_s = median(start.whole_s for start in starts)
    return (
        f"Starts of {name or 'the agent'} take {seconds(whole_s)}, and {percent_range(relative)} of that "
        f"({seconds(each.estimate)}) goes into modules that nothing uses until later: {told}{more}."
    )


def _used(module: LateModule) -> str:
    if module.after_s is None:
        return "never used"
    return f"used in {percent(module.used)} of processes, {seconds(module.after_s)} after the start"
