"""`perfopt status`: a home folder in, every policy's state, evidence and next step, and what is next, out."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.learned_file import LearnedFile
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.errors import LedgerError
from otel_perfopt.loop.observatory import Observatory
from otel_perfopt.loop.queue import optimization_queue
from otel_perfopt.report.queue import queue_table
from otel_perfopt.report.standing import policy_table

_WATCH_S = 2.0


@click.command()
@home_option
@click.option("--watch", is_flag=True, help="Go on showing it until Ctrl-C.")
def status(home: Path, watch: bool) -> None:
    """Show every policy: where it stands, what its comparison says, what it waits for; and what is next."""
    observatory, learned = Observatory(home, resume=True), LearnedFile(home)
    console = Console()
    if not watch:
        console.print(_view(home, observatory, learned))
        return
    with Live(_view(home, observatory, learned), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_S)
            live.update(_view(home, observatory, learned), refresh=True)


def _view(home: Path, observatory: Observatory, learned_file: LearnedFile) -> RenderableType:
    now_ns = time.time_ns()
    policies, parts = _policies(home, now_ns)
    observatory.look(now_ns)
    statuses = policies.statuses(now_ns)
    standings = {one.name: observatory.standing(one, policies, now_ns) for one in statuses}
    parts += [Text(str(problem), style="red") for problem in policies.problems]
    if policies.killed:
        parts.append(Text("everything is switched off: perfopt unkill", style="bold red"))
    if not statuses:
        parts.append(Text(f"no policies in {home}/policies; perfopt propose writes some from recorded telemetry"))
        return Group(*parts)
    learned = learned_file.learned(policies.ledger.entries, write=False)
    queue = optimization_queue(policies, learned, now_ns)
    return Group(*parts, policy_table(statuses, standings), *([queue_table(queue)] if queue else []))


def _policies(home: Path, now_ns: int) -> tuple[PolicySet, list[RenderableType]]:
    """Return the policies with what is new written down, or as they are where nothing can be written or read."""
    try:
        return PolicySet.open(home, now_ns), []
    except LedgerError as error:
        policies, unreadable = PolicySet.look(home)
        return policies, [Text(f"{unreadable or error}; shown as far as it can be read", style="red")]
