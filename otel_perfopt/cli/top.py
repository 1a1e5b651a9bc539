"""`perfopt top`: a home folder's telemetry as it grows in; commands, models and tools live in the terminal out."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console, RenderableType

from otel_perfopt.cli.options import duration_s, home_option
from otel_perfopt.cli.watching import watch
from otel_perfopt.errors import NoTelemetryError
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.measure.meter_file import FOLDER as METRICS_FOLDER
from otel_perfopt.report.live.metrics import LiveMetrics
from otel_perfopt.report.live.screen import head_of_spans, live_screen
from otel_perfopt.report.live.spans import LiveSpans
from otel_perfopt.report.live.window import LiveWindow
from otel_perfopt.report.wording import counted


@click.command()
@home_option
@click.option("--window", default="60s", show_default=True, callback=duration_s, help="What the figures cover.")
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds between looks.")
@click.option("--looks", type=click.IntRange(min=1), help="End after so many looks; otherwise with Ctrl-C.")
@click.option("--metrics", is_flag=True, help="Read the meter's files (every ten seconds), not the spans.")
def top(*, home: Path, window: float, every: float, looks: int | None, metrics: bool) -> None:
    """Watch commands, models and tools as they end: how often, how many at once, how long, errors, tokens.

    Spans that agents write to the home folder are read as they come, a few MB back at the start; where there
    are none, the files of the live meter. A run is in flight when a step of it ended and its command did not.
    Memory stays bounded however long it runs. Without a terminal each look is printed below the last.
    """
    console = Console()
    held = LiveWindow(window)
    spans, metering = home / TELEMETRY_FOLDER, home / METRICS_FOLDER
    if not spans.is_dir() and not metering.is_dir():
        raise NoTelemetryError(f"no telemetry in {home}; record some: perfopt run python my_agent.py")
    if metrics or not spans.is_dir():
        meters = LiveMetrics(metering, held)

        def view() -> RenderableType:
            now_ns = time.time_ns()
            meters.look(now_ns)
            head = (counted(meters.files.files, "metrics file"), "every 10 s", str(home))
            return live_screen(held, head, now_ns, console.size)
    else:
        live = LiveSpans(spans, held)

        def view() -> RenderableType:
            now_ns = time.time_ns()
            live.look(now_ns)
            problems = sum(live.tally.problem_counts.values())
            head = head_of_spans(str(home), live.files.files, live.in_flight, problems)
            return live_screen(held, head, now_ns, console.size)

    watch(view, console, every_s=every, looks=looks)
