"""`perfopt status`: a home folder in, every policy's state, evidence and next step, and what is next, out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.text import Text

from otel_perfopt.cli.options import home_option
from otel_perfopt.cli.watching import watch as watch_on
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.loop.observatory import Standing
from otel_perfopt.report.home_view import HomeView, HomeWatch
from otel_perfopt.report.ledger import what_happened
from otel_perfopt.report.queue import QueueView
from otel_perfopt.report.standing import PolicyLines, policy_list, policy_table
from otel_perfopt.report.wording import clock

_WATCH_S = 2.0
_LAST_ENTRIES = 5
# Columns that the table needs to read well.
_WIDE = 150


@click.command()
@home_option
@click.option("--watch", is_flag=True, help="Go on showing it, every two seconds, until Ctrl-C.")
@click.option("--looks", type=click.IntRange(min=1), help="With --watch: end after so many looks.")
def status(home: Path, watch: bool, looks: int | None) -> None:
    """Show every policy: where it stands, what its comparison says, what it waits for; and what is next."""
    if looks is not None and not watch:
        raise click.UsageError("--looks goes with --watch")
    console, home_watch = Console(), HomeWatch(home, writes=True)
    if not watch:
        table = policy_table if console.width >= _WIDE else policy_list
        console.print(_shown(home_watch.look(time.time_ns()), table))
        return

    def view() -> RenderableType:
        now = home_watch.look(time.time_ns())
        head = Text.assemble(("perfopt status", "bold cyan"), f"  {clock(now.now_ns)} UTC  ", (str(home), "dim"))
        # Head, titles and what happened last take so many lines; the queue has the rest of the screen.
        room = console.height - len(now.problems) - len(now.statuses) - _LAST_ENTRIES - 6
        queue: list[RenderableType] = [Text(), QueueView(now.queue, max(4, room))] if now.queue else []
        return Group(head, Text(), *_standing(now, PolicyLines), _last(now), *queue)

    watch_on(view, console, every_s=_WATCH_S, looks=looks)


def _shown(
    view: HomeView, table: Callable[[Sequence[PolicyStatus], Mapping[str, Standing]], RenderableType]
) -> RenderableType:
    waiting: list[RenderableType] = [Text(), QueueView(view.queue)] if view.queue else []
    return Group(*_standing(view, table), *waiting)


def _standing(
    view: HomeView, table: Callable[[Sequence[PolicyStatus], Mapping[str, Standing]], RenderableType]
) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(problem, style="red") for problem in view.problems]
    if view.killed:
        parts.append(Text("everything is switched off: perfopt unkill", style="bold red"))
    if not view.statuses:
        parts.append(Text(f"no policies in {view.home}/policies; perfopt propose writes some from recorded telemetry"))
        return parts
    return [*parts, table(view.statuses, view.standings)]


def _last(view: HomeView) -> RenderableType:
    """Return the ledger's latest entries, a line each."""
    lines = (
        f"{clock(entry.time_ns)}  {entry.policy}: {what_happened(entry)} by {entry.actor}  {entry.reason}"
        for entry in reversed(view.entries[-_LAST_ENTRIES:])
    )
    told = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in lines]
    return Group(Text(), *told) if told else Text()
