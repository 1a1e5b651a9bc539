"""What a reader must know before trusting the numbers: counts and rows in, plain sentences out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from otel_perfopt.analyse.analysis import Counts, UsageRow
from otel_perfopt.analyse.units import MIN_UNITS

MANY_ESTIMATED = 0.2
MOSTLY = 0.5
MIN_CALLS = 20
FAR_ABOVE = 10.0


def notes_of(counts: Counts, tools: Sequence[UsageRow], models: Sequence[UsageRow]) -> tuple[str, ...]:
    """Return the caveats that apply, most important first."""
    notes = []
    if counts.unfinished_runs:
        notes.append(f"{counts.unfinished_runs:,} runs are left out: they have not finished, or their process died.")
    if counts.unknown_effects > MOSTLY * counts.tool_calls:
        notes.append(
            f"Of {counts.unknown_effects:,} of {counts.tool_calls:,} tool calls nobody said whether they only read, so "
            "nothing is proposed for them; say it where the agent runs: perfopt run --effects 'get_*=read' …"
        )
    if counts.timed_runs < counts.runs:
        without = counts.runs - counts.timed_runs
        notes.append(f"{without:,} of {counts.runs:,} runs have no clock: they count, but say nothing about time.")
    if 0 < counts.conversations < MIN_UNITS:
        notes.append(
            f"There are only {counts.conversations} conversations: intervals are over their runs "
            "and speak of these conversations alone."
        )
    notes.extend(_estimated(tools, "tool"))
    notes.extend(_estimated(models, "model"))
    notes.extend(_permission(tools))
    return tuple(notes)


def _estimated(rows: Sequence[UsageRow], what: str) -> Iterator[str]:
    estimated, timed = sum(row.estimated for row in rows), sum(row.timed for row in rows)
    if timed and estimated >= MANY_ESTIMATED * timed:
        yield (
            f"The durations of {estimated:,} of {timed:,} {what} calls were inferred from neighbouring records "
            "and may include queueing and the agent's own work."
        )


def _permission(tools: Sequence[UsageRow]) -> Iterator[str]:
    names = [
        row.name
        for row in tools
        if row.timed >= MIN_CALLS and row.mean_s and row.p50_s and row.mean_s > FAR_ABOVE * row.p50_s and row.mean_s > 1
    ]
    if names:
        yield (
            f"Most calls of {', '.join(names[:5])} take far less than their mean: "
            "the long ones may include waits for a permission, which this source does not record apart."
        )
