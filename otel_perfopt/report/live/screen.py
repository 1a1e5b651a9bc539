"""The live screen: a live window and what was read in, a rich table of commands, models and tools out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from otel_perfopt.report.live.window import LiveWindow, Row, RowKind
from otel_perfopt.report.printable import printable
from otel_perfopt.report.wording import UNKNOWN, clock, count, counted, seconds, share

# Lines of a screen that are no rows: the head, and two above each table.
_FRAME_LINES = 10
_LEAST_ROWS = 3
_MOST_NAME_WIDTH, _LEAST_NAME_WIDTH = 34, 14
# Below so many columns the share of failed calls is left out.
_NARROW = 96
_COLUMNS = ("/min", "at once", "p50", "p95", "errors", "failed", "in/min", "out/min")
_NUMBER_WIDTH = 8


def live_screen(window: LiveWindow, head: Sequence[str], now_ns: int, size: ConsoleDimensions) -> RenderableType:
    """Return the screen at `now_ns` (Unix ns) for a terminal of this size; tokens are those of model calls."""
    tables = {kind: window.rows(kind, now_ns) for kind in (RowKind.COMMAND, RowKind.MODEL, RowKind.TOOL)}
    title = Text.assemble(
        ("perfopt top", "bold cyan"),
        f"  {clock(now_ns)} UTC  ",
        (" · ".join(head), "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
    if not any(tables.values()):
        return Group(title, Text(), Text(_nothing(window), style="dim"))
    most = _rows_each([len(rows) for rows in tables.values()], size.height - _FRAME_LINES)
    return Group(title, Text(), *(_table(kind, rows, most, size.width) for kind, rows in tables.items() if rows))


def _nothing(window: LiveWindow) -> str:
    last = f"; the last thing ended at {clock(window.last_ns)} UTC" if window.last_ns else ""
    return f"nothing ended in the last {window.window_s:g} s{last}"


def _rows_each(sizes: Sequence[int], lines: int) -> int:
    """Return how many rows each table may have so that all fit; short tables leave their room to the others."""
    most = max(_LEAST_ROWS, *sizes)
    while most > _LEAST_ROWS and sum(min(size, most) for size in sizes) > lines:
        most -= 1
    return most


def _table(kind: RowKind, rows: Sequence[Row], most: int, width: int) -> Table:
    narrow = width < _NARROW
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    left = len(rows) - most
    columns = [name for name in _COLUMNS if name != "failed" or not narrow]
    room = width - len(columns) * (_NUMBER_WIDTH + 1) - 2
    name_width = max(_LEAST_NAME_WIDTH, min(_MOST_NAME_WIDTH, room))
    table.add_column(f"{kind}" + (f" +{left}" if left > 0 else ""), width=name_width, no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True, min_width=_NUMBER_WIDTH)
    for row in rows[:most]:
        cells = _cells(row)
        table.add_row(Text(printable(row.name)), *(cells[name] for name in columns))
    table.add_row()
    return table


def _cells(row: Row) -> dict[str, Text | str]:
    # Tokens over calls, times calls a minute: both cover the same stretch.
    a_call = row.a_minute / row.calls if row.calls else 0.0
    return {
        "/min": count(row.a_minute) if row.a_minute >= 10 else f"{row.a_minute:.1f}",
        "at once": Text(f"{row.at_once:.2f}", style="bold" if row.at_once >= 1 else ""),
        "p50": seconds(row.p50_s),
        "p95": seconds(row.p95_s),
        "errors": Text(count(row.errors), style="red" if row.errors else "dim"),
        "failed": share(row.errors / row.calls) if row.calls else UNKNOWN,
        "in/min": count(row.tokens_in * a_call) if row.tokens_in else UNKNOWN,
        "out/min": count(row.tokens_out * a_call) if row.tokens_out else UNKNOWN,
    }


def head_of_spans(home: str, files: int, in_flight: int, problems: int) -> tuple[str, ...]:
    """Return what the screen's first line says where spans are read."""
    flying = f"{counted(in_flight, 'run')} in flight"
    # The folder is last: what has no room at the end of the line is cut.
    return (flying, counted(files, "file"), *((f"{count(problems)} not read",) if problems else ()), home)
