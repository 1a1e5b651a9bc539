"""`perfopt analyze`: paths of recorded telemetry in, a report in the terminal, as HTML and as JSON out."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.cli.options import store_question_options
from otel_perfopt.errors import NoTelemetryError, PerfoptError
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.report.document import report_json
from otel_perfopt.report.html import report_html
from otel_perfopt.report.terminal import print_report
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.read.recorded import open_recorded

_OUTPUT = Path("-")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a self-contained page here; - is the output."
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the document here; - is the output.",
)
@click.option("--prices", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Your own price table.")
@click.option(
    "--store",
    metavar="PATH_OR_URL",
    help="Analyse a store (a folder, or a ClickHouse server's URL); PATHS are imported into it first.",
)
@store_question_options
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def analyze(
    *,
    paths: tuple[Path, ...],
    html: Path | None,
    json_path: Path | None,
    prices: Path | None,
    store: str | None,
    since: datetime | None,
    until: datetime | None,
    sample: int | None,
    interval: float,
    workers: int | None,
    quiet: bool,
) -> None:
    """Report what recorded agents did, what it cost, and what would save most.

    PATHS are files and folders: OTLP JSON lines, Claude Code transcripts, chat trajectories with tool calls; plain or
    gzipped, told apart by content. Without one, what `perfopt run` kept in .perfopt/ is read. Files are read as they
    are; what is asked again and again, or is more than one machine's, is kept in a store.
    """
    home = AgentSettings.from_environment().home
    table = PriceTable.load(prices) if prices else prices_of(home)
    if store is not None:
        from otel_perfopt.cli.analyze_store import StoreQuestion, analyse_store
        from otel_perfopt.cli.store import window_of

        processes = workers or os.cpu_count() or 1
        question = StoreQuestion(store, window_of(since, until), sample, interval / 100, processes)
        analysis = analyse_store(question, paths, table, quiet=quiet)
    elif since or until or sample:
        raise click.UsageError("--from, --to and --sample ask a store: name it with --store")
    else:
        analysis = read_and_analyse(paths or (_own_telemetry(home),), table, quiet=quiet)
    if not quiet and _OUTPUT not in (html, json_path):
        print_report(analysis, Console())
    for path, write in ((html, report_html), (json_path, report_json)):
        if path is not None:
            _write(path, write(analysis))


def read_and_analyse(paths: tuple[Path, ...], prices: PriceTable, *, quiet: bool) -> Analysis:
    """Read everything at `paths` with a progress bar.

    Raises:
        NoTelemetryError: nothing could be read there; the message says what was found instead.
    """
    for path in paths:
        if path.is_fifo():
            raise NoTelemetryError(f"{path} is a pipe, and telemetry is read twice; write it to a file first")
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("reading", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        source = open_recorded(paths, on_progress)
        analysis = analyse(RecordedExecutions(source), prices=prices)
    if not analysis.counts.runs:
        _raise_nothing_read(paths, analysis)
    return analysis


def _raise_nothing_read(paths: tuple[Path, ...], analysis: Analysis) -> None:
    places = ", ".join(str(path) for path in paths)
    why = "".join(f"\n  {problem}" for problem in analysis.tally.problems[:10])
    raise NoTelemetryError(f"no run could be read at {places}{why}")


def _own_telemetry(home: Path) -> Path:
    folder = home / TELEMETRY_FOLDER
    if not folder.is_dir():
        raise NoTelemetryError(
            f"no telemetry in {folder}; name files or folders, or record some: perfopt run python my_agent.py"
        )
    return folder


def _write(path: Path, text: str) -> None:
    # Recorded names may hold half a surrogate pair; its escape is right in JSON and readable in the page.
    content = text.encode("utf-8", "backslashreplace")
    if path == _OUTPUT:
        click.echo(content, nl=False)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise PerfoptError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"written: {path}", err=True)
