"""What a result cache would have answered: a run's repeats in, hits within the time to live and false hits out."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from otel_perfopt.execution.model import Step
from otel_perfopt.execution.repetition import Repeat

TTL_S = 300.0
CACHE_PARAMETERS: Mapping[str, object] = {"ttl": "5m", "scope": "conversation"}
MAX_REMEMBERED = 20_000
MAX_FALSE_SHARE = 0.001


@dataclass(frozen=True, slots=True)
class CacheHit:
    """A call a cache would have answered; `false` says that the answer would have been another one."""

    step: Step
    false: bool


class CacheHits:
    """Imagines a cache with the given time to live, kept by conversation and emptied by whatever may write."""

    def __init__(self, ttl_s: float = TTL_S) -> None:
        self._ttl_ns = round(ttl_s * 1e9)
        # When the result that a hit would have given was read: hits do not prolong it.
        self._read_ns: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._compared: Counter[str] = Counter()
        self._false: Counter[str] = Counter()

    def observe(self, repeats: Iterable[Repeat], *, timed: bool) -> list[CacheHit]:
        """Return the hits among a run's repeats; without a clock every safe repeat is one."""
        hits: list[CacheHit] = []
        for repeat in repeats:
            step, earlier = repeat.step, repeat.earlier
            if not repeat.safe or (timed and earlier.end_ns > step.start_ns):
                continue
            read_ns = self._read_ns.get((earlier.trace_id, earlier.span_id), earlier.end_ns)
            if timed and step.start_ns - read_ns > self._ttl_ns:
                continue
            self._read_ns[step.trace_id, step.span_id] = read_ns
            if len(self._read_ns) > MAX_REMEMBERED:
                self._read_ns.popitem(last=False)
            self._compare(step.name, repeat.same_result)
            hits.append(CacheHit(step, false=repeat.same_result is False))
        return hits

    def _compare(self, tool: str, same: bool | None) -> None:
        if same is not None and (tool in self._compared or len(self._compared) < MAX_REMEMBERED):
            self._compared[tool] += 1
            self._false[tool] += not same

    def compared(self, tool: str) -> tuple[int, int]:
        """Return how many of the tool's hits could be compared with the real result, and how many were false."""
        return self._compared[tool], self._false[tool]

    def trustworthy(self, tool: str) -> bool:
        """Tell whether the recordings speak for caching the tool: no more than one hit in a thousand was false.

        Results that could not be compared speak neither way.
        """
        return self._false[tool] <= MAX_FALSE_SHARE * self._compared[tool]
