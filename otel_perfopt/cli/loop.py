"""`perfopt loop`: a home folder in; compares, promotes and rolls back until stopped, and serves a fleet if asked to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import click

from otel_perfopt.cli.heartbeat import Heartbeat
from otel_perfopt.cli.options import home_option
from otel_perfopt.errors import PerfoptError
from otel_perfopt.loop.controller import Controller, Turn
from otel_perfopt.loop.controller_metrics import ControllerMetrics
from otel_perfopt.loop.ledger_beacon import LedgerBeacon, logger_provider
from otel_perfopt.loop.metrics_export import meter_provider
from otel_perfopt.loop.trough_schedule import TroughSchedule
from otel_perfopt.report.wording import clock
from otel_perfopt.settings import ExportSettings


@click.command()
@home_option
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds between turns.")
@click.option("--once", is_flag=True, help="Take one turn and end.")
@click.option("--propose", "proposes", is_flag=True, help="Write proposals for what the telemetry shows, as it comes.")
@click.option(
    "--in-troughs",
    is_flag=True,
    help="Have analyses, and roll-outs without a `when`, begin when the load is forecast to be low.",
)
@click.option(
    "--deadline",
    "deadline_h",
    default=24.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Hours that --in-troughs waits at most.",
)
@click.option("--serve", metavar="HOST:PORT", help="Serve the snapshot to agents that have PERFOPT_SNAPSHOT_URL.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The bearer token that agents must show; needed to serve beyond this machine.",
)
def loop(
    *,
    home: Path,
    every: float,
    once: bool,
    proposes: bool,
    in_troughs: bool,
    deadline_h: float,
    serve: str | None,
    token_file: Path | None,
) -> None:
    """Follow the agents' telemetry, compare what is in force, keep what helps and take back what harms."""
    schedule = TroughSchedule(deadline_h * 3600.0) if in_troughs else None
    controller = Controller(home, proposes=proposes, beacon=beacon(), schedule=schedule)
    tell_meters = turn_metrics(controller)
    told: frozenset[str] = frozenset()
    heartbeat = Heartbeat(home, every, shown=not once and sys.stderr.isatty())
    if not once:
        _say(heartbeat.begin(controller.policies.names), err=True)
    with _served(home, serve, token_file):
        while True:
            turn = controller.turn()
            tell_meters(turn)
            if turn.transitions or set(turn.problems) - told:
                heartbeat.clear()
            _tell(turn, told)
            heartbeat.beat(turn)
            told = frozenset(turn.problems)
            if turn.behind:
                continue
            if once:
                return
            time.sleep(every)


@contextmanager
def _served(home: Path, address: str | None, token_file: Path | None) -> Iterator[None]:
    if address is None:
        yield
        return
    # Only who serves needs a web server installed.
    from otel_perfopt.loop.snapshot_server import read_token, served, snapshot_app

    host, port = _address(address)
    if token_file is None and not _is_here(host):
        raise PerfoptError(f"to serve at {host}, beyond this machine, name a --token-file")
    token = read_token(token_file) if token_file is not None else ""
    with served(snapshot_app(home, token), host, port) as bound:
        click.echo(f"serving the snapshot at http://{address.rpartition(':')[0]}:{bound}/v1/snapshot", err=True)
        yield


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise PerfoptError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:8318 or [::1]:8318")
    return host.strip("[]"), int(port)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def beacon() -> LedgerBeacon | None:
    """Return what tells the ledger's heads; nothing where no OTLP endpoint for logs is configured."""
    try:
        provider = logger_provider(ExportSettings.from_environment())
        return LedgerBeacon(provider) if provider is not None else None
    except Exception as error:  # the loop guards the agents; nobody listening is no reason to stop
        click.echo(f"the ledger's heads are not told: {error}", err=True)
        return None


def turn_metrics(controller: Controller) -> Callable[[Turn], None]:
    """Return what is told of each turn; it does nothing where no OTLP endpoint is configured."""
    try:
        provider = meter_provider(ExportSettings.from_environment())
        return ControllerMetrics(controller, provider).observe if provider is not None else lambda _turn: None
    except Exception as error:  # the loop guards the agents; nobody watching it is no reason to stop
        click.echo(f"the controller's metrics are off: {error}", err=True)
        return lambda _turn: None


def _tell(turn: Turn, told: frozenset[str]) -> None:
    for step in turn.transitions:
        _say(f"{clock(turn.now_ns)} {step.policy}: {step.from_state} → {step.to_state} ({step.reason})")
    for problem in turn.problems:
        if problem not in told:
            _say(f"{clock(turn.now_ns)} {problem}", err=True)


def _say(text: str, *, err: bool = False) -> None:
    # The disk that holds what it says may be full; what it does goes on.
    with suppress(OSError):
        click.echo(text, err=err)
