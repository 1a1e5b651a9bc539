"""A store, perhaps paths to import first, a window and a sample in; the `Analysis` of its runs out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.cli.store import import_with_progress
from otel_perfopt.errors import NoTelemetryError
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.measure.store.sample import Sample
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store
from otel_perfopt.measure.store.window import Window


@dataclass(frozen=True, slots=True)
class StoreQuestion:
    """What of a store is analysed: which store, the runs that begin in a window, and about how many of them."""

    place: str
    window: Window
    sample: int | None = None


def analyse_store(question: StoreQuestion, paths: tuple[Path, ...], prices: PriceTable, *, quiet: bool) -> Analysis:
    """Import `paths`, then analyse the store.

    Raises:
        NoTelemetryError: there is no store, or no run in the window.
        StoreError: the store cannot be read or written.
    """
    with open_store(question.place, create=bool(paths)) as opened:
        if paths:
            import_with_progress(opened, paths, quiet=quiet)
        analysis = _analysed(opened, question, prices, quiet=quiet)
    if not analysis.counts.runs:
        raise NoTelemetryError(f"no run begins in that time in {opened.address}")
    return analysis


def _analysed(opened: TelemetryStore, question: StoreQuestion, prices: PriceTable, *, quiet: bool) -> Analysis:
    columns = (TextColumn("analysing"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("analysing", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        sample = None if question.sample is None else Sample(question.sample)
        source = StoreSource(opened, question.window, sample=sample, on_progress=on_progress)
        analysis = analyse(source, prices=prices)
        return replace(analysis, notes=(*source.notes, *analysis.notes))
