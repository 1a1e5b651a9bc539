"""`perfopt plan`: a policy and recorded telemetry in; who it touches, what it should bring and how long it takes out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console

from otel_perfopt.cli.check import boundaries_of
from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.alert_rules import alerts_text
from otel_perfopt.decide.catalog import POLICY_FOLDER
from otel_perfopt.decide.policy_file import LoadedPolicy, read_policies
from otel_perfopt.errors import PerfoptError
from otel_perfopt.execution.model import Execution
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.loop.policy_plan import policy_plans
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.measure.price import priced
from otel_perfopt.report.policy_plan import plan_data, plan_text
from otel_perfopt.signal.read.recorded import open_recorded


@click.command()
@click.argument("policies", nargs=-1, metavar="[POLICY]...")
@click.option(
    "--from", "sources", multiple=True, type=click.Path(path_type=Path, exists=True), help="Telemetry to use."
)
@click.option("--json", "as_json", is_flag=True, help="Print a document instead.")
@click.option("--alerts", is_flag=True, help="Print the Prometheus rules instead.")
@home_option
def plan(*, policies: tuple[str, ...], sources: tuple[Path, ...], as_json: bool, alerts: bool, home: Path) -> None:
    """Say what each POLICY (a name or a file; all without one) would mean, before anything happens.

    From the telemetry in the home folder, or what --from names: who is eligible, what it should save, how many units
    and days a verdict takes, what the boundary forbids, and what will be watched. Changes nothing.
    """
    chosen = _chosen(policies, home)
    found = policy_plans(
        [(loaded.policy, loaded.digest) for loaded in chosen], boundaries_of(home), _runs(sources, home)
    )
    if alerts:
        for one in found:
            click.echo(alerts_text(one.alerts, one.name), nl=False)
    elif as_json:
        click.echo(json.dumps({"format": "perfopt.plan", "version": 1, "plans": [plan_data(one) for one in found]}))
    else:
        console = Console()
        for one in found:
            console.print(plan_text(one))


def _chosen(wanted: Sequence[str], home: Path) -> Sequence[LoadedPolicy]:
    files = [Path(word) for word in wanted if Path(word).is_file()]
    names = [word for word in wanted if not Path(word).is_file()]
    found = [loaded for file in files for loaded in read_policies(file).policies]
    if wanted and not names:
        return found
    folder = home / POLICY_FOLDER
    if not folder.is_dir():
        raise PerfoptError(f"there is no {folder}; name a policy file")
    declared = {loaded.name: loaded for loaded in read_policies(folder).policies}
    for name in names:
        if name not in declared:
            raise PerfoptError(f"there is no policy {name!r} in {folder}; there are: {', '.join(declared) or 'none'}")
    return [*found, *(declared[name] for name in names or declared)]


def _runs(sources: Sequence[Path], home: Path) -> Iterable[Execution]:
    telemetry = home / TELEMETRY_FOLDER
    paths = sources or ((telemetry,) if telemetry.is_dir() else ())
    prices = prices_of(home)
    return (priced(run, prices) for run in RecordedExecutions(open_recorded(paths)).executions()) if paths else ()
