"""`perfopt loop`: a home folder in; compares, promotes and rolls back until stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click

from otel_perfopt.cli.options import home_option
from otel_perfopt.loop.controller import Controller, Turn
from otel_perfopt.loop.controller_metrics import ControllerMetrics
from otel_perfopt.loop.metrics_export import meter_provider
from otel_perfopt.report.wording import clock
from otel_perfopt.settings import ExportSettings


@click.command()
@home_option
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds between turns.")
@click.option("--once", is_flag=True, help="Take one turn and end.")
def loop(home: Path, every: float, once: bool) -> None:
    """Follow the agents' telemetry, compare what is in force, keep what helps and take back what harms."""
    controller = Controller(home)
    tell_meters = _metrics(controller)
    told: frozenset[str] = frozenset()
    while True:
        turn = controller.turn()
        tell_meters(turn)
        _tell(turn, told)
        told = frozenset(turn.problems)
        if once:
            return
        time.sleep(every)


def _metrics(controller: Controller) -> Callable[[Turn], None]:
    """Return what is told of each turn; it does nothing where no OTLP endpoint is configured."""
    try:
        provider = meter_provider(ExportSettings.from_environment())
        return ControllerMetrics(controller, provider).observe if provider is not None else lambda _turn: None
    except Exception as error:  # the loop guards the agents; nobody watching it is no reason to stop
        click.echo(f"the controller's metrics are off: {error}", err=True)
        return lambda _turn: None


def _tell(turn: Turn, told: frozenset[str]) -> None:
    for step in turn.transitions:
        click.echo(f"{clock(turn.now_ns)} {step.policy}: {step.from_state} → {step.to_state} ({step.reason})")
    for problem in turn.problems:
        if problem not in told:
            click.echo(f"{clock(turn.now_ns)} {problem}", err=True)
