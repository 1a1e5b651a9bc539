"""What changed about the runs and when: runs in, the hours in which a release, model, prompt or policy took over out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Execution, StepKind
from otel_perfopt.measure.series import HOUR_S

RELEASE, MODEL, PROMPT, POLICY = "release", "model", "prompt", "policy"
ABSENT = "none"
MAX_VALUES = 30
MAX_DIMENSIONS = 60
# A change is a value whose share of the runs rises by half and more from one day to the next.
AROUND_BINS = 24
MIN_RISE = 0.5
MIN_RUNS = 5


@dataclass(frozen=True, slots=True)
class RunChange:
    """One thing that changed: most runs had `before` until `time_ns` and `after` from then on.

    `dimension` is release, model, prompt or policy; `name` says of what (the service, the policy).
    """

    dimension: str
    name: str
    before: str
    after: str
    time_ns: int

    def __str__(self) -> str:
        of = f" of {self.name}" if self.name else ""
        return f"{self.dimension}{of}: {self.before} → {self.after}"


class RunChanges:
    """Counts by hour which release, models, prompts and policies' stages runs had, in bounded memory."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], dict[str, dict[int, int]]] = {}
        self._runs: dict[int, int] = {}

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        if not execution.timed or execution.command.start_ns <= 0:
            return
        place = execution.command.start_ns // round(HOUR_S * 1e9)
        self._runs[place] = self._runs.get(place, 0) + 1
        for key, value in _facts(execution):
            if key not in self._counts and len(self._counts) >= MAX_DIMENSIONS:
                continue
            values = self._counts.setdefault(key, {})
            if value in values or len(values) < MAX_VALUES:
                bins = values.setdefault(value, {})
                bins[place] = bins.get(place, 0) + 1

    def changes(self) -> tuple[RunChange, ...]:
        """Return what took over when, in order of time."""
        if not self._runs:
            return ()
        first, last = min(self._runs), max(self._runs)
        found = [
            change for key, values in self._counts.items() for change in _changes(key, values, self._runs, first, last)
        ]
        return tuple(sorted(found, key=lambda change: (change.time_ns, change.dimension, change.name)))


def _facts(execution: Execution) -> Iterator[tuple[tuple[str, str], str]]:
    service = execution.command.target.service
    if execution.release:
        yield (RELEASE, service), execution.release
    models, prompts = set(), set()
    for step in execution.steps:
        if step.kind is StepKind.INFERENCE:
            models.add(step.target.model)
            prompts.add(str(step.attributes.get(c.PROMPT_DIGEST, "")))
    command = execution.command.target.command
    for dimension, values in ((MODEL, models), (PROMPT, prompts)):
        values.discard("")
        # Runs of several models or prompts are of a kind of their own.
        if values:
            yield (dimension, command), " + ".join(sorted(values))
    for policy, assignment in execution.arms.items():
        if assignment.stage:
            yield (POLICY, policy), assignment.stage


def _changes(
    key: tuple[str, str], values: dict[str, dict[int, int]], runs: dict[int, int], first: int, last: int
) -> Iterator[RunChange]:
    size = last - first + 1
    if size < 2 * AROUND_BINS or size > 100_000:
        return
    counts = {value: _dense(bins, first, size) for value, bins in values.items()}
    stated = np.sum(list(counts.values()), axis=0)
    if key[0] == POLICY:
        # A run without the policy's mark is one before (or after) it.
        whole = _dense(runs, first, size)
        counts[ABSENT] = np.maximum(whole - stated, 0.0)
        stated = whole
    for after, own in counts.items():
        for place in _rises(own, stated):
            before = _most(counts, place - AROUND_BINS, place, but=after)
            if after != ABSENT and before:
                yield RunChange(key[0], key[1], before, after, round((first + place) * HOUR_S * 1e9))


def _dense(bins: dict[int, int], first: int, size: int) -> NDArray[np.float64]:
    values = np.zeros(size)
    for place, count in bins.items():
        values[place - first] = count
    return values


def _rises(own: NDArray[np.float64], stated: NDArray[np.float64]) -> Iterator[int]:
    """Yield the bins at which a value's share rises by half from the day before to the day after."""
    owned, all_ = np.concatenate(([0.0], np.cumsum(own))), np.concatenate(([0.0], np.cumsum(stated)))
    places = np.arange(1, own.size)
    low, high = np.maximum(0, places - AROUND_BINS), np.minimum(own.size, places + AROUND_BINS)
    before, after = all_[places] - all_[low], all_[high] - all_[places]
    enough = (before >= MIN_RUNS) & (after >= MIN_RUNS)
    rise = np.where(
        enough,
        (owned[high] - owned[places]) / np.maximum(after, 1) - (owned[places] - owned[low]) / np.maximum(before, 1),
        0.0,
    )
    while rise.size and rise.max() >= MIN_RISE:
        # Where quiet hours leave the rise alike, it is dated to the first bin that has the new value.
        level = np.flatnonzero(rise >= rise.max() - 1e-9)
        having = [int(index) for index in level if own[places[index]] > 0]
        index = having[0] if having else int(level[0])
        yield int(places[index])
        rise[max(0, index - AROUND_BINS) : index + AROUND_BINS] = 0.0


def _most(counts: dict[str, NDArray[np.float64]], start: int, end: int, *, but: str) -> str:
    sums = {value: float(own[max(0, start) : end].sum()) for value, own in counts.items() if value != but}
    best = max(sums, key=lambda value: sums[value], default="")
    return best if best and sums[best] > 0 else ""
