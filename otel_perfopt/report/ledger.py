"""The ledger for a terminal: entries in, a rich table out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.report.wording import clock


def ledger_table(entries: Sequence[LedgerEntry]) -> Table:
    """Return the entries as a table, oldest first."""
    table = Table(header_style="bold", border_style="dim")
    for name in ("#", "time (UTC)", "policy", "what", "by"):
        table.add_column(name, overflow="fold")
    table.add_column("why", overflow="fold", ratio=1)
    for entry in entries:
        cells = (
            str(entry.sequence),
            clock(entry.time_ns),
            entry.policy,
            what_happened(entry),
            entry.actor,
            entry.reason,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def what_happened(entry: LedgerEntry) -> str:
    """Write the step that an entry tells, or its event."""
    if entry.to_state:
        return f"{entry.from_state} → {entry.to_state}"
    gate = entry.details.get("gate")
    return f"{entry.event} {gate}" if gate else entry.event
