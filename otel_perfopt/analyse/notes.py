"""What a reader must know before trusting the numbers: counts and rows in, plain sentences out."""

from __future__ import annotations

from collections.abc import Sequence

from otel_perfopt.analyse.analysis import Counts, UsageRow
from otel_perfopt.analyse.units import MIN_UNITS

MANY_ESTIMATED = 0.2


def notes_of(counts: Counts, tools: Sequence[UsageRow]) -> tuple[str, ...]:
    """Return the caveats that apply, most important first."""
    notes = []
    if counts.timed_runs < counts.runs:
        without = counts.runs - counts.timed_runs
        notes.append(f"{without:,} of {counts.runs:,} runs have no clock: they count, but say nothing about time.")
    if 0 < counts.conversations < MIN_UNITS:
        notes.append(
            f"There are only {counts.conversations} conversations: intervals are over their runs "
            "and speak of these conversations alone."
        )
    estimated, timed = sum(row.estimated for row in tools), sum(row.timed for row in tools)
    if timed and estimated >= MANY_ESTIMATED * timed:
        notes.append(
            f"The durations of {estimated:,} of {timed:,} tool calls were inferred from neighbouring records "
            "and may include queueing and waits for a permission."
        )
    return tuple(notes)
