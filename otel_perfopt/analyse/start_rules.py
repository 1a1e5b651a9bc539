"""What starting warm would have saved: a `RunView` in, `WhatIf`s in time out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.module_start import is_start
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.student_t import student_t
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.analyse.what_if import LATENCY, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.execution.model import Step, StepKind, Target
from otel_perfopt.execution.schedule import Changes

QUIET_NS = 600 * 1_000_000_000
MIN_CALLS = 20


class _Warm:
    """How long a target's calls take when it was called a moment ago, and when it last was."""

    __slots__ = ("count", "latest_ns", "logs", "total_ns")

    def __init__(self) -> None:
        self.count = self.total_ns = self.latest_ns = 0
        self.logs = 0.0


@dataclass(slots=True)
class _Cold:
    """By how much (on the logarithm) calls after a silence took longer than others, and modules loaded in runs."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    loads: int = 0

    def add(self, excess: float) -> None:
        self.count += 1
        self.total += excess
        self.squares += excess * excess

    def sure(self) -> bool:
        if self.count < MIN_CALLS:
            return False
        mean = self.total / self.count
        variance = max(0.0, self.squares - self.count * mean * mean) / (self.count - 1)
        return mean > student_t(0.001, self.count - 1) * math.sqrt(variance / self.count)


class WarmUpRule(PlainRule):
    """The first call of a tool or model after ten quiet minutes takes as long as others do, and modules are loaded.

    Others are the calls before it that did not follow a silence (twenty at least), by their mean;
    calls shorter than that count against it, so where silence costs nothing nothing is saved.
    """

    optimization = "warm_up"
    metric = LATENCY

    def __init__(self) -> None:
        self._warm: BoundedTable[tuple[str, str], _Warm] = BoundedTable(_Warm, overflow=("", OTHER), limit=500)
        self._cold: BoundedTable[str, _Cold] = BoundedTable(_Cold, overflow=OTHER, limit=200)

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command; calls that failed say nothing."""
        if not run.execution.timed or is_start(run.execution):
            return ()
        changed: dict[str, int] = {}
        cold: list[Step] = []
        seen = self._cold[run.execution.command.name]
        for step in (*run.inferences, *run.calls):
            usual_ns = self._usual_ns(step, seen)
            if usual_ns is not None:
                changed[step.span_id] = usual_ns
                cold.append(step)
        loads = [step for step in run.execution.steps if step.kind is StepKind.MODULE_LOAD]
        changed |= {step.span_id: 0 for step in loads}
        cold += loads
        seen.loads += len(loads)
        if not cold:
            return ()
        target, bound = Target(command=run.execution.command.name), run.waited_ns(cold)
        saved = sum(_saved_ns(run, step, changed[step.span_id]) for step in cold)
        return (WhatIf(target, Changes(durations_ns=changed), bound, tuple(cold), saved_ns=saved),)

    def safe(self, target: Target) -> bool:
        """Tell whether modules were loaded during runs, or calls after a silence surely took longer (99.9 %)."""
        seen = self._cold.rows.get(target.command)
        return seen is not None and (seen.loads > 0 or seen.sure())

    def _usual_ns(self, step: Step, seen: _Cold) -> int | None:
        """Return how long others of its target took, for a call after a silence; None for any other call."""
        if step.error_type is not None or step.end_ns <= step.start_ns or waits_for_person(step):
            return None
        warm = self._warm[step.kind.value, step.name]
        first = not warm.latest_ns
        quiet = first or step.start_ns - warm.latest_ns > QUIET_NS
        warm.latest_ns = max(warm.latest_ns, step.end_ns)
        length = step.end_ns - step.start_ns
        if not quiet:
            warm.count += 1
            warm.total_ns += length
            warm.logs += math.log(length)
        if not quiet or first or warm.count < MIN_CALLS:
            return None
        seen.add(math.log(length) - warm.logs / warm.count)
        return warm.total_ns // warm.count


def _saved_ns(run: RunView, step: Step, usual_ns: int) -> int:
    """Return what another duration of a step saves as far as the run waited on it: close to a replay, and cheap."""
    length = max(1, step.end_ns - step.start_ns)
    return round((length - usual_ns) / length * run.critical_ns.get(step.span_id, 0))


class LazyImportRule(PlainRule):
    """No module is loaded during a run: what loading only what is used could save at the very most."""

    optimization = "lazy_import"
    metric = LATENCY
    upper_bound = True

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        loads = tuple(step for step in run.execution.steps if step.kind is StepKind.MODULE_LOAD)
        if not loads or is_start(run.execution):
            return ()
        changes = Changes(durations_ns={step.span_id: 0 for step in loads})
        return (WhatIf(Target(command=run.execution.command.name), changes, run.waited_ns(loads), loads),)
