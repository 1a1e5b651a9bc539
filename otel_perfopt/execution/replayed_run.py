"""What a replay is asked and what it answers: changes in, new times of a run's steps out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Changes:
    """What would have been different in a run.

    `durations_ns` gives steps another duration by span id (0 for a cache hit); what ran inside such
    a step is part of it. `parallel_replies` names the inferences (span ids) whose read-only tool
    calls run side by side from the moment the first of them was begun. `starts_after` lets a call
    start, by its span id, as soon as another step ended (a span id; the command's for the start of
    the run): a preload, joined when the agent asks for the call.
    """

    durations_ns: Mapping[str, int] = field(default_factory=dict)
    parallel_replies: frozenset[str] = frozenset()
    starts_after: Mapping[str, str] = field(default_factory=dict)


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class ReplayedRun:
    """A run as it would have been.

    `recorded_ns` and `duration_ns` are the command's; `intervals` holds by span id when each step
    inside the command would have worked, in Unix ns. Steps inside one whose duration was changed
    are left out.
    """

    recorded_ns: int
    duration_ns: int
    intervals: Mapping[str, tuple[int, int]]

    @property
    def saved_ns(self) -> int:
        """How much shorter the run would have been; negative when longer."""
        return self.recorded_ns - self.duration_ns
