"""A store, perhaps paths to import first, and what is asked in; the `Analysis` of its runs out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from otel_perfopt.analyse import store_analysis
from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.store_sample import HALF_WIDTH
from otel_perfopt.cli.store import import_with_progress
from otel_perfopt.errors import NoTelemetryError
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store
from otel_perfopt.measure.store.window import Window


@dataclass(frozen=True, slots=True)
class StoreQuestion:
    """What of a store is analysed: which store, the runs that begin in a window, and how many of them one by one.

    That many traces (`sample`), or as many as give the mean run time within `half_width` of itself.
    """

    place: str
    window: Window
    sample: int | None = None
    half_width: float = HALF_WIDTH
    workers: int = 1


def analyse_store(question: StoreQuestion, paths: tuple[Path, ...], prices: PriceTable, *, quiet: bool) -> Analysis:
    """Import `paths`, then analyse the store.

    Raises:
        NoTelemetryError: there is no store, or no run in the window.
        StoreError: the store cannot be read or written.
    """
    with open_store(question.place, create=bool(paths)) as opened:
        if paths:
            import_with_progress(opened, paths, quiet=quiet)
        analysis = _with_progress(opened, question, prices, quiet=quiet)
    if not analysis.counts.runs:
        raise NoTelemetryError(f"no run begins in that time in {opened.address}")
    return analysis


def _with_progress(opened: TelemetryStore, question: StoreQuestion, prices: PriceTable, *, quiet: bool) -> Analysis:
    columns = (TextColumn("analysing"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("analysing", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        asked = store_analysis.StoreQuestion(
            window=question.window,
            half_width=question.half_width,
            traces=question.sample,
            workers=question.workers,
        )
        return store_analysis.analyse_store(opened, asked, prices=prices, on_progress=on_progress)
