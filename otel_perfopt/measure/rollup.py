"""Numbers over many runs: `Execution`s in, `Measurement`s by metric, target and kind of step out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Execution, StepKind, Target
from otel_perfopt.measure import metric as m
from otel_perfopt.measure.measurement import Measurement
from otel_perfopt.measure.observation import observations
from otel_perfopt.measure.price import PriceTable, priced

MAX_TARGETS = 2000
OVERFLOW: Final = Target(service=c.METRIC_OVERFLOW)

Key = tuple[str, Target, StepKind]

_FIELDS: Final[Mapping[str, Callable[[Target], str]]] = {
    "service": lambda target: target.service,
    "agent": lambda target: target.agent,
    "command": lambda target: target.command,
    "tool": lambda target: target.tool,
    "model": lambda target: target.model,
}


class Rollup:
    """Adds up runs; two of them merge by addition.

    At most `max_targets` distinct targets are kept; what comes after is added to `OVERFLOW`, so
    that totals stay true.
    """

    def __init__(self, prices: PriceTable | None = None, max_targets: int = MAX_TARGETS) -> None:
        self._prices = prices
        self._max = max_targets
        self._targets: set[Target] = set()
        self._measurements: dict[Key, Measurement] = {}
        self.runs = 0

    def add(self, execution: Execution) -> None:
        """Take one run into account."""
        self.runs += 1
        run = execution if self._prices is None else priced(execution, self._prices)
        for name, target, kind, value in observations(run):
            self._at(name, target, kind).add(value)

    def merge(self, other: Rollup) -> None:
        """Add another roll-up's numbers to this one."""
        self.runs += other.runs
        for (name, target, kind), measurement in other._measurements.items():
            self._at(name, target, kind).merge(measurement)

    def items(self) -> Iterator[tuple[Key, Measurement]]:
        """Yield every measurement with its (metric, target, kind)."""
        yield from self._measurements.items()

    def measurement(self, metric: str, target: Target, kind: StepKind) -> Measurement | None:
        """Return one measurement of exactly this target; None when nothing was observed."""
        return self._measurements.get((metric, target, kind))

    def by(self, field: str, metric: str, kind: StepKind) -> dict[str, Measurement]:
        """Return one metric of one kind of step by a field of the target (`command`, `tool`, `model`, …).

        What overflowed stands under `otel.metric.overflow`.

        Raises:
            KeyError: targets have no such field.
        """
        value_of = _FIELDS[field]
        found: dict[str, Measurement] = {}
        for (name, target, measured_kind), measurement in self._measurements.items():
            if name == metric and measured_kind is kind:
                value = c.METRIC_OVERFLOW if target is OVERFLOW else value_of(target)
                found.setdefault(value, Measurement()).merge(measurement)
        return found

    def total(self, metric: str, kind: StepKind, **fields: str) -> float | None:
        """Return the sum of one metric over all targets whose fields have the given values; None when unobserved."""
        wanted = [(_FIELDS[field], value) for field, value in fields.items()]
        sums = [
            measurement.total
            for (name, target, measured_kind), measurement in self._measurements.items()
            if name == metric and measured_kind is kind and all(read(target) == value for read, value in wanted)
        ]
        return sum(sums) if sums else None

    def thinking_share(self, **fields: str) -> float | None:
        """Return the share of the runs' time that waited on thinking (0 to 1)."""
        return _ratio(
            self.total(m.THINKING_TIME, StepKind.COMMAND, **fields), self.total(m.DURATION, StepKind.COMMAND, **fields)
        )

    def critical_share(self, kind: StepKind, *, command: str | None = None, **fields: str) -> float | None:
        """Return the share of the runs' time (of one command's, if given) that waited on such steps (0 to 1)."""
        only = {} if command is None else {"command": command}
        part = self.total(m.CRITICAL_PATH, kind, **only, **fields)
        return _ratio(part, self.total(m.DURATION, StepKind.COMMAND, **only))

    def cache_read_share(self, **fields: str) -> float | None:
        """Return cache-read tokens over input tokens, of the model calls that state both (0 to 1)."""
        return self._share_of_inference(m.TOKENS_CACHE_READ, m.INPUT_WITH_CACHE_READ, fields)

    def resent_share(self, **fields: str) -> float | None:
        """Return resent tokens over input tokens, of the model calls that state both (0 to 1)."""
        return self._share_of_inference(m.TOKENS_RESENT, m.INPUT_WITH_RESENT, fields)

    def reasoning_share(self, **fields: str) -> float | None:
        """Return reasoning tokens over output tokens, of the model calls that state both (0 to 1)."""
        return self._share_of_inference(m.TOKENS_REASONING, m.OUTPUT_WITH_REASONING, fields)

    def _share_of_inference(self, part: str, whole: str, fields: dict[str, str]) -> float | None:
        inference = StepKind.INFERENCE
        return _ratio(self.total(part, inference, **fields), self.total(whole, inference, **fields))

    def _at(self, name: str, target: Target, kind: StepKind) -> Measurement:
        if target not in self._targets and target != OVERFLOW:
            if len(self._targets) < self._max:
                self._targets.add(target)
            else:
                target = OVERFLOW
        if target == OVERFLOW:
            target = OVERFLOW
        key = (name, target, kind)
        found = self._measurements.get(key)
        if found is None:
            found = self._measurements[key] = Measurement()
        return found


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
