"""`perfopt propose`: recorded telemetry in, proposed policy files in the home folder out, best first."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from otel_perfopt.cli.analyze import read_and_analyse
from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.implementation_plan import UNKNOWN_SIZE
from otel_perfopt.decide.learned_file import LearnedFile
from otel_perfopt.decide.learning import Rank
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.proposal import Proposal
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.loop.policy_plan import policy_plans
from otel_perfopt.loop.proposing import SizeOf, propose_ranked, ranked_drafts
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.measure.price import priced
from otel_perfopt.report.policy_plan import days_text
from otel_perfopt.signal.read.recorded import open_recorded


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@home_option
def propose(paths: tuple[Path, ...], home: Path) -> None:
    """Write a policy for each finding that one would answer, to .perfopt/policies/proposed/, best first.

    PATHS are read as `perfopt analyze` reads them; without one, the home folder's telemetry. Nothing comes into force
    before somebody approves it, and no file of yours is touched.
    """
    sources = paths or (home / TELEMETRY_FOLDER,)
    analysis = read_and_analyse(sources, prices_of(home), quiet=False)
    now_ns = time.time_ns()
    policies = PolicySet.open(home, now_ns)
    learned = LearnedFile(home).learned(policies.ledger.entries)
    drafts = [draft.proposal for draft in ranked_drafts(policies, analysis.findings, learned, now_ns)]
    size_of = _sizes(drafts, policies, sources, home)
    written = propose_ranked(policies, analysis.findings, learned, time.time_ns(), size_of=size_of)
    for proposal, rank in written:
        click.echo(f"{home / proposal.file}: {_sentence(proposal, rank)}")
    if not written:
        click.echo("nothing to propose: no finding that a policy does not answer already")


def _sizes(drafts: Sequence[Proposal], policies: PolicySet, sources: Sequence[Path], home: Path) -> SizeOf:
    """Return what tells how long each draft's trial would take, from one more look at the telemetry."""
    prices = prices_of(home)
    wanted = [(draft.policy, draft.digest) for draft in drafts]
    runs = (priced(run, prices) for run in RecordedExecutions(open_recorded(sources)).executions()) if wanted else ()
    sizes = {plan.name: plan.size for plan in policy_plans(wanted, policies.boundaries, runs)}
    return lambda policy: sizes.get(policy.name, UNKNOWN_SIZE)


def _sentence(proposal: Proposal, rank: Rank) -> str:
    predicted, size = proposal.predicted, proposal.size
    saves = f", saves {predicted.low:.0%} to {predicted.high:.0%} of {proposal.metric}" if predicted else ""
    takes = f", a verdict after {size.units:,} units" if size.units is not None else ""
    takes += f" ({days_text(size.days)})" if size.days is not None else ""
    said = f"{proposal.policy.spec.optimize.type}{saves}, {rank.risk} risk{takes}"
    return f"{said}; perfopt approve {proposal.name}"
