"""`perfopt propose`: recorded telemetry in, proposed policy files in the home folder out."""

from __future__ import annotations

import time
from pathlib import Path

import click

from otel_perfopt.cli.analyze import read_and_analyse
from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.proposal import Proposal
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.measure.home_prices import prices_of


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@home_option
def propose(paths: tuple[Path, ...], home: Path) -> None:
    """Write a policy for each finding that one would answer, to .perfopt/policies/proposed/.

    PATHS are read as `perfopt analyze` reads them; without one, the home folder's telemetry. Nothing comes into force
    before somebody approves it, and no file of yours is touched.
    """
    analysis = read_and_analyse(paths or (home / TELEMETRY_FOLDER,), prices_of(home), quiet=False)
    now_ns = time.time_ns()
    written = PolicySet.open(home, now_ns).propose(analysis.findings, now_ns)
    for proposal in written:
        click.echo(f"{home / proposal.file}: {_sentence(proposal)}")
    if not written:
        click.echo("nothing to propose: no finding that a policy does not answer already")


def _sentence(proposal: Proposal) -> str:
    predicted = proposal.predicted
    saves = f", saves {predicted.low:.0%} to {predicted.high:.0%} of {proposal.metric}" if predicted else ""
    return f"{proposal.policy.spec.optimize.type}{saves}; perfopt approve {proposal.name}"
