"""`perfopt report`: recorded telemetry or a store, and a home folder, in; one self-contained page for people out."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.cli.analyze import read_and_analyse
from otel_perfopt.cli.options import home_option, store_question_options
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.errors import NoTelemetryError, PerfoptError
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.report.home_sections import home_sections
from otel_perfopt.report.home_view import HomeWatch
from otel_perfopt.report.html import report_html
from otel_perfopt.report.section import Section

_OUTPUT = Path("-")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@home_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("report.html"),
    show_default=True,
    help="Where the page is written; - is the output.",
)
@click.option("--title", default="What your agents do", show_default=True, help="The page's title.")
@click.option("--store", metavar="PATH_OR_URL", help="Report on a store; PATHS are imported into it first.")
@store_question_options
@click.option("--prices", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Your own price table.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def report(
    *,
    paths: tuple[Path, ...],
    home: Path,
    out: Path,
    title: str,
    store: str | None,
    since: datetime | None,
    until: datetime | None,
    sample: int | None,
    interval: float,
    workers: int | None,
    prices: Path | None,
    quiet: bool,
) -> None:
    """Write one page on what the agents did, what to do about it, and how each policy stands.

    PATHS are read as `perfopt analyze` reads them; without one, the home folder's telemetry. Where the home folder has
    policies, their verdicts, what ended roll-outs taught and the ledger's latest entries are in it. The page needs
    nothing else: no network, no script; it prints, and follows the reader's light or dark. Nothing is changed.
    """
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
    _write(out, _page(analysis, home, title, quiet=quiet), quiet=quiet)


def _page(analysis: Analysis, home: Path, title: str, *, quiet: bool) -> str:
    console = Console(stderr=True, quiet=quiet)
    with console.status("comparing policies"):
        further, last = _home_sections(home)
    with console.status("drawing"):
        return report_html(analysis, title=title, further=further, last=last)


def _home_sections(home: Path) -> tuple[tuple[Section, ...], tuple[Section, ...]]:
    if not (home / LEDGER_FILE).exists():
        return (), ()
    return home_sections(HomeWatch(home).look(time.time_ns()))


def _own_telemetry(home: Path) -> Path:
    folder = home / TELEMETRY_FOLDER
    if not folder.is_dir():
        raise NoTelemetryError(
            f"no telemetry in {folder}; name files or folders, or record some: perfopt run python my_agent.py"
        )
    return folder


def _write(path: Path, page: str, *, quiet: bool) -> None:
    # Recorded names may hold half a surrogate pair; its escape is readable in the page.
    content = page.encode("utf-8", "backslashreplace")
    if path == _OUTPUT:
        click.echo(content, nl=False)
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise PerfoptError(f"cannot write {path}: {error.strerror}") from error
    if not quiet:
        click.echo(f"written: {path} ({len(content) / 1024:,.0f} KiB)", err=True)
