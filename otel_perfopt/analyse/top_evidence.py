"""The most telling places to look: weighted evidence in, the five heaviest out."""

from __future__ import annotations

import heapq
import itertools

from otel_perfopt.analyse.finding import Evidence
from otel_perfopt.execution.model import Execution, Step

KEPT = 5


class TopEvidence:
    """Keeps the heaviest pieces of evidence, one a run."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Evidence]] = []
        self._order = itertools.count()

    def wants(self, weight: float) -> bool:
        """Tell whether evidence of this weight may be kept: where not, its note need not be written."""
        return len(self._heap) < KEPT or weight > self._heap[0][0]

    def add(self, weight: float, execution: Execution, step: Step | None, note: str) -> None:
        """Offer the step (None: the run as a whole) as evidence."""
        if not self.wants(weight):
            return
        trace_id = execution.trace_id
        known = next((item for item in self._heap if item[2].trace_id == trace_id), None)
        if known is not None:
            if weight <= known[0]:
                return
            self._heap.remove(known)
            heapq.heapify(self._heap)
        span_id = "" if step is None else step.span_id
        evidence = Evidence(trace_id, span_id, execution.location, note)
        heapq.heappush(self._heap, (weight, -next(self._order), evidence))
        if len(self._heap) > KEPT:
            heapq.heappop(self._heap)

    def kept(self) -> tuple[Evidence, ...]:
        """Return what was kept, heaviest first."""
        return tuple(item[2] for item in sorted(self._heap, key=lambda item: item[:2], reverse=True))
