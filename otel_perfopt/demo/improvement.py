"""What each policy was to achieve and did: proposals, statuses and standings in, one table out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from rich.table import Table
from rich.text import Text

from otel_perfopt.decide.allocation import BASELINE, TREATMENT
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.proposal import Proposal
from otel_perfopt.loop.observatory import Standing
from otel_perfopt.report.standing import relative_change
from otel_perfopt.report.wording import UNKNOWN, seconds, share_interval
from otel_perfopt.verify.verdict import Unit

_COLUMNS = ("policy", "current", "target", "measured", "change")


def improvement_table(
    proposals: Sequence[Proposal], statuses: Mapping[str, PolicyStatus], standings: Mapping[str, Standing]
) -> Table:
    """Return one row a proposal: the goal metric's mean in baseline, what the goal asks, the mean in treatment."""
    table = Table(title="Current, target and measured", title_justify="left", header_style="bold", show_lines=True)
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in {"policy", "change"} else "right", overflow="fold")
    for proposal in proposals:
        table.add_row(*(Text(cell) for cell in _row(proposal, statuses[proposal.name], standings.get(proposal.name))))
    return table


def proposal_table(proposals: Sequence[Proposal]) -> Table:
    """Return one row a proposal: what it would do, where, and what that is predicted to save."""
    table = Table("proposed policy", "does", "where", "predicted saving", header_style="bold")
    for proposal in proposals:
        match = proposal.policy.spec.match
        where = ", ".join((*match.command, *match.tool))
        kind = proposal.policy.spec.optimize.type
        saving = f"{share_interval(proposal.predicted)} of {proposal.metric}"
        table.add_row(*(Text(cell) for cell in (proposal.name, kind, where, saving)))
    return table


def _row(proposal: Proposal, status: PolicyStatus, standing: Standing | None) -> tuple[str, ...]:
    goal = proposal.policy.spec.goal
    verdict = standing.verdict if standing else None
    units = standing.units if standing else ()
    current, measured = _mean(units, BASELINE, goal.metric), _mean(units, TREATMENT, goal.metric)
    target = current * (1 - goal.improve.value) if current is not None and not goal.improve.absolute else None
    result = next((metric for metric in verdict.metrics if metric.role == "goal"), None) if verdict else None
    write = seconds if goal.metric == "latency" else _number
    change = relative_change(result) if result else UNKNOWN
    return (
        f"{proposal.name}\n{status.state.stage or status.state.state}, {goal.metric}",
        write(current),
        write(target),
        write(measured),
        f"{change}\npredicted: {share_interval(proposal.predicted)} less",
    )


def _mean(units: Sequence[Unit], arm: str, metric: str) -> float | None:
    values = [unit.values[metric] for unit in units if unit.arm == arm and metric in unit.values]
    return fmean(values) if values else None


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
