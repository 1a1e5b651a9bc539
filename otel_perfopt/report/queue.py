"""The queue of what is next, for a terminal: queue items in, a rich table out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from otel_perfopt.loop.queue import QueueItem
from otel_perfopt.report.policy_plan import days_text
from otel_perfopt.report.wording import count, share, share_interval


def queue_table(items: Sequence[QueueItem]) -> Table:
    """Return one row a policy that waits, best first."""
    columns = ("next", "does", "should save", "succeeds", "risk", "units", "verdict in", "needs")
    table = Table(*columns, header_style="bold", title="What is next, by expected value", title_justify="left")
    for item in items:
        saved = f"{item.metric} {share_interval(item.saved)}"
        cells = (
            item.policy,
            item.optimization,
            saved,
            share(item.probability),
            item.risk,
            count(item.expected_units),
            days_text(item.expected_days),
            item.needs or item.state,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table
