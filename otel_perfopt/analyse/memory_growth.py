"""Memory that only grows: runs in, services whose processes hold more and more of it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import percent
from otel_perfopt.execution.model import Execution, Target

BLOCKS = 16
MIN_RUNS = 8 * BLOCKS
MIN_GROWTH = 0.05
# Of the 28 pairs of eight blocks at least this many more must rise than fall: by chance 0.2 % of series do.
MIN_RISES = 22
MAX_KEPT = 4096
MIB = 1 << 20


@dataclass(slots=True)
class _Service:
    points: list[tuple[int, float]] = field(default_factory=list)
    stride: int = 1
    seen: int = 0
    last: float = 0.0
    evidence: TopEvidence = field(default_factory=TopEvidence)

    def add(self, start_ns: int, value: float) -> None:
        self.seen += 1
        self.last = value
        if self.seen % self.stride == 0:
            self.points.append((start_ns, value))
        if len(self.points) > MAX_KEPT:
            self.points = self.points[::2]
            self.stride *= 2


class MemoryGrowth:
    """Finds services whose resident memory, as their commands state it, still grows in the second half of the time.

    Filling caches and loading modules end; what grows on in the later half, block after block
    (Mann-Kendall over the medians of eight blocks), and by at least 5 % there, does not look like ending.
    """

    name = "memory_growth"

    def __init__(self, seed: int = 0) -> None:
        del seed  # the order of medians needs no draws
        self._services: BoundedTable[str, _Service] = BoundedTable(_Service, overflow=OTHER, limit=100)

    def observe(self, execution: Execution) -> None:
        """Take one run into account; a command that states no memory says nothing."""
        value = execution.command.attributes.get(c.COMMAND_MEMORY)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0 or not execution.timed:
            return
        service = self._services[execution.command.target.service]
        service.add(execution.command.start_ns, float(value))
        service.evidence.add(value, execution, None, f"{value / MIB:,.0f} MiB resident")

    def findings(self) -> list[Finding]:
        """Return one finding a service that grows."""
        found = []
        for name, service in self._services.rows.items():
            growth = _growth(service.points)
            if growth is not None:
                found.append(self._finding(name, service, growth))
        return found

    def _finding(self, name: str, service: _Service, growth: Interval) -> Finding:
        hours = (max(service.points)[0] - min(service.points)[0]) / 2 / 3.6e12
        start = service.last / (1 + growth.estimate)
        return Finding(
            kind="memory_growth",
            target=Target(service=name),
            summary=(
                f"The resident memory of {name or 'the agent'} grew by {percent(growth.estimate)} ({percent(growth.low)} to "
                f"{percent(growth.high)}) in the later half of the time ({hours:.3g} h), to {service.last / MIB:,.0f} MiB, "
                "and was still growing."
            ),
            detector=self.name,
            effect=Effect("memory", "By", growth, growth.times(start)),
            occurrences=service.seen,
            runs=service.seen,
            evidence=service.evidence.kept(),
            suggestion=Suggestion("gc_tuning", {}, {"command": ("*",)}),
        )


def _growth(points: list[tuple[int, float]]) -> Interval | None:
    """Return by what share the later half grew, from its first block to its last; None where it does not grow on."""
    if len(points) < MIN_RUNS:
        return None
    values = [value for _, value in sorted(points)]
    size = len(values) / BLOCKS
    blocks = [sorted(values[round(place * size) : round((place + 1) * size)]) for place in range(BLOCKS)]
    later = [median(block) for block in blocks[BLOCKS // 2 :]]
    pairs = [(a, b) for place, a in enumerate(later) for b in later[place + 1 :]]
    if sum((b > a) - (b < a) for a, b in pairs) < MIN_RISES:
        return None
    first, last = blocks[BLOCKS // 2], blocks[-1]
    low, high = _median_ends(first), _median_ends(last)
    growth = Interval(later[-1] / later[0] - 1, high[0] / low[1] - 1, high[1] / low[0] - 1)
    return growth if growth.estimate >= MIN_GROWTH and growth.low > 0 else None


def _median_ends(ordered: list[float]) -> tuple[float, float]:
    """Return the interval of a median, from the ranks that half of all draws fall below (binomial)."""
    share = wilson(len(ordered) // 2, len(ordered))
    assert share is not None
    last = len(ordered) - 1
    return ordered[max(0, int(share.low * last))], ordered[min(last, int(share.high * last) + 1)]
