"""The ledger for a terminal: entries in, a rich table out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.report.wording import clock


def ledger_table(entries: Sequence[LedgerEntry]) -> Table:
    """Return the entries as a table, oldest first."""
    table = Table("#", "time", "policy", "event", "change", "by", "why", header_style="bold", border_style="dim")
    for entry in entries:
        change = f"{entry.from_state} → {entry.to_state}" if entry.to_state else entry.details.get("gate", "")
        cells = (
            str(entry.sequence),
            clock(entry.time_ns),
            entry.policy,
            entry.event,
            change,
            entry.actor,
            entry.reason,
        )
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table
