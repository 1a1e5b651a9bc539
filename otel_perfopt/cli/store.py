"""`perfopt store info | import | compact | export`: a store and paths in, what was done and what there is out."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from otel_perfopt.errors import PerfoptError
from otel_perfopt.measure.store.importer import Imported, import_recorded
from otel_perfopt.measure.store.schema import set_retention
from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store
from otel_perfopt.measure.store.upkeep import StoreInfo, compact, export_parquet, store_info
from otel_perfopt.measure.store.window import MAX_NS, MIN_NS, Window
from otel_perfopt.settings import AgentSettings

STORE_FOLDER = "store"
_DAYS_SHOWN = 31


def default_store() -> str:
    """Return the store of the home folder."""
    return str(AgentSettings.from_environment().home / STORE_FOLDER)


_store_option = click.option(
    "--store",
    "place",
    default=default_store,
    show_default=".perfopt/store",
    metavar="PATH_OR_URL",
    help="A folder, or http://user:password@host:8123/database of a ClickHouse server.",
)


@click.group()
def store() -> None:
    """Keep telemetry where years of it can be asked."""


@store.command()
@_store_option
def info(place: str) -> None:
    """Show what a store holds: spans, traces, days, size, and whose table it is."""
    with open_store(place, create=False) as opened:
        Console().print(_info_table(store_info(opened)))


@store.command("import")
@_store_option
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--retention", type=click.IntRange(min=1), metavar="DAYS", help="From now on, keep spans so many days.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def import_(place: str, paths: tuple[Path, ...], retention: int | None, *, quiet: bool) -> None:
    """Import recorded telemetry: each span once, from where the last import stopped."""
    with open_store(place) as opened:
        if retention is not None:
            set_retention(opened.connection, retention)
        imported = import_with_progress(opened, paths, quiet=quiet)
    if not quiet:
        click.echo(_said(imported))


@store.command("compact")
@_store_option
@click.option("--retention", type=click.IntRange(min=1), metavar="DAYS", help="From now on, keep spans so many days.")
@click.option("--keep-all", is_flag=True, help="From now on, keep spans for good.")
def compact_(place: str, retention: int | None, *, keep_all: bool) -> None:
    """Merge what was written piece by piece, and remove what is past its time."""
    with open_store(place, create=False) as opened:
        if retention is not None or keep_all:
            set_retention(opened.connection, retention)
        before = store_info(opened).disk_bytes
        folded = compact(opened)
        after = store_info(opened).disk_bytes
    click.echo(f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now; {folded:,} spans stood twice")


@store.command()
@_store_option
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "since", type=click.DateTime(), help="From this moment (UTC).")
@click.option("--to", "until", type=click.DateTime(), help="Until before this moment (UTC).")
def export(place: str, folder: Path, since: datetime | None, until: datetime | None) -> None:
    """Write spans to FOLDER as Parquet, a file a day."""
    with open_store(place, create=False) as opened:
        try:
            files = export_parquet(opened, folder, window_of(since, until))
        except OSError as error:
            raise PerfoptError(f"cannot write to {folder}: {error.strerror or error}") from error
    for path in files:
        click.echo(f"written: {path}")
    if not files:
        raise PerfoptError("there are no spans in that time")


def window_of(since: datetime | None, until: datetime | None) -> Window:
    """Return the window between two moments in UTC, either of which may be open."""
    return Window(MIN_NS if since is None else _nanoseconds(since), MAX_NS if until is None else _nanoseconds(until))


def import_with_progress(opened: TelemetryStore, paths: tuple[Path, ...], *, quiet: bool) -> Imported:
    """Import `paths` with a progress bar on the error output."""
    columns = (TextColumn("importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("importing", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return import_recorded(opened, paths, on_progress)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.replace(tzinfo=timezone.utc).timestamp()) * 10**9


def _said(imported: Imported) -> str:
    appended, tally = imported.appended, imported.tally
    parts = [f"{appended.added:,} spans imported from {tally.files:,} files"]
    if appended.known:
        parts.append(f"{appended.known:,} were there already")
    if appended.replaced:
        parts.append(f"{appended.replaced:,} had grown")
    if imported.unchanged_files:
        parts.append(f"{imported.unchanged_files:,} files had nothing new")
    lines = ["; ".join(parts)]
    lines.extend(f"  {count:,} × {kind}" for kind, count in tally.problem_counts.most_common())
    lines.extend(f"  {problem}" for problem in tally.problems[:10])
    return "\n".join(lines)


def _info_table(found: StoreInfo) -> Table:
    table = Table(title=found.address, show_header=False, title_justify="left")
    for name, value in _facts(found):
        table.add_row(name, value)
    hidden = len(found.days) - _DAYS_SHOWN
    if hidden > 0:
        table.add_row("days before", f"{hidden:,}")
    for day in found.days[-_DAYS_SHOWN:]:
        table.add_row(day.day, f"{day.spans:,} spans, {day.traces:,} traces")
    return table


def _facts(found: StoreInfo) -> list[tuple[str, Any]]:
    window = "none" if found.window_ns is None else " to ".join(map(_moment, found.window_ns))
    return [
        ("table", found.kind),
        ("spans", f"{found.spans:,}"),
        ("traces", f"{found.traces:,}"),
        ("services", f"{found.services:,}"),
        ("window", window),
        ("without a clock", f"{found.untimed_spans:,} spans"),
        ("on disk", f"{found.disk_bytes / 1e6:,.1f} MB in {found.parts:,} parts"),
        ("retention", found.retention or "kept for good"),
        ("promoted columns", ", ".join(found.promoted) or "none"),
    ]


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
