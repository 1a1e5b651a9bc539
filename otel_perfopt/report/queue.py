"""The queue of what is next, for a terminal: queue items in, a table where it fits and a list where not out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_perfopt.loop.queue import QueueItem
from otel_perfopt.report.policy_plan import days_text
from otel_perfopt.report.wording import count, share, share_interval

_TITLE = "What is next, by expected value"
_COLUMNS = ("next", "does", "should save", "succeeds", "risk", "units", "verdict in", "needs")


def queue_table(items: Sequence[QueueItem]) -> Table:
    """Return one row a policy that waits, best first; nothing in it is cut or broken."""
    table = Table(header_style="bold", title=_TITLE, title_justify="left")
    for name in _COLUMNS:
        table.add_column(name, no_wrap=True, overflow="fold")
    for item in items:
        table.add_row(*(Text(cell) for cell in _cells(item)))
    return table


def queue_list(items: Sequence[QueueItem]) -> RenderableType:
    """Return a few lines a policy that waits: for terminals too narrow for the table."""
    parts: list[RenderableType] = [Text(_TITLE, style="italic")]
    for rank, item in enumerate(items, start=1):
        name, does, saved, succeeds, risk, units, days, needs = _cells(item)
        parts.append(Text.assemble((f"{rank:>2}. ", "dim"), (name, "bold"), f"  {does}, {risk} risk"))
        told = [f"should save {saved}", f"succeeds {succeeds}"]
        told += [f"a verdict after {units} units, {days}"] if item.expected_units is not None else []
        told += [f"needs {needs}"] if item.needs else [item.state]
        parts.append(Padding(Text("; ".join(told)), (0, 0, 0, 4)))
    return Group(*parts)


class QueueView:
    """The queue as the terminal has room for it; with `lines`, no more of it than so many."""

    def __init__(self, items: Sequence[QueueItem], lines: int | None = None) -> None:
        self._items = items
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the table where all of it fits, else the list."""
        table = queue_table(self._items)
        fits = Measurement.get(console, options.update(width=10_000), table).minimum <= options.max_width
        if self._lines is None:
            yield table if fits else queue_list(self._items)
            return
        # A title and a line for what is left out; the table has three lines of frame, the list two lines an item.
        most = max(1, self._lines - 6 if fits else (self._lines - 2) // 2)
        shown = self._items[:most]
        yield queue_table(shown) if fits else queue_list(shown)
        if len(self._items) > most:
            yield Text(f"and {len(self._items) - most} more: perfopt status", style="dim")


def _cells(item: QueueItem) -> tuple[str, ...]:
    return (
        item.policy,
        item.optimization,
        f"{item.metric} {share_interval(item.saved)}",
        share(item.probability),
        item.risk,
        count(item.expected_units),
        days_text(item.expected_days),
        item.needs or item.state,
    )
