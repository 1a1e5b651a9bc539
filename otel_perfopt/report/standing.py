"""Where policies stand, for a terminal: statuses and standings in, rich tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import State
from otel_perfopt.loop.observatory import Standing
from otel_perfopt.report.wording import UNKNOWN
from otel_perfopt.verify.verdict import MetricResult, Verdict

_STYLES = {
    State.ACTIVE: "green",
    State.CANARY: "cyan",
    State.SHADOW: "blue",
    State.AWAITING: "yellow",
    State.ROLLED_BACK: "red",
    State.KILLED: "red",
}


def policy_table(statuses: Sequence[PolicyStatus], standings: Mapping[str, Standing]) -> Table:
    """Return one row a policy: its state, how it compares, and what it waits for."""
    table = Table(header_style="bold")
    for name in ("policy", "does", "state", "units", "goal so far", "guardrails", "now"):
        # A name is what the next command is given: it is never cut.
        table.add_column(name, overflow="fold")
    for status in statuses:
        standing = standings.get(status.name)
        verdict = standing.verdict if standing else None
        stage = status.state.stage or str(status.state.state)
        table.add_row(
            Text(status.name),
            status.policy.spec.optimize.type,
            Text(stage, style=_STYLES.get(status.state.state, "")),
            _units(verdict),
            _goal(verdict) + _before_after(standing),
            guardrails_held(verdict),
            Text(what_now(status, verdict)),
        )
    return table


def policy_list(statuses: Sequence[PolicyStatus], standings: Mapping[str, Standing]) -> Group:
    """Return a line a policy, and below what each waits for and says: for terminals too narrow for the table."""
    told = []
    for status in statuses:
        standing = standings.get(status.name)
        said = what_now(status, standing.verdict if standing else None) + _before_after(standing)
        told.append(Text.assemble((status.name, "bold"), "\n", said.strip()) if said else Text(status.name))
    return Group(policy_lines(statuses, standings, says=False), *(Padding(text, (1, 0, 0, 0)) for text in told))


def policy_lines(statuses: Sequence[PolicyStatus], standings: Mapping[str, Standing], *, says: bool = True) -> Table:
    """Return one line a policy, what waits for a person first; with `says` its end is cut where there is no room."""
    ranked = sorted(statuses, key=lambda one: (one.pending_gate is None, one.name))
    rows = [_line(status, standings.get(status.name)) for status in ranked]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(("policy", "state", "units", "goal so far", "guardrails")):
        # Only what is said last may be cut where the terminal is narrow.
        table.add_column(name, no_wrap=True, width=max((len(name), *(len(row[place]) for row in rows))))
    if says:
        table.add_column("now")
    for row in rows:
        table.add_row(*(row if says else row[:-1]))
    return table


def _line(status: PolicyStatus, standing: Standing | None) -> tuple[Text, ...]:
    verdict = standing.verdict if standing else None
    waits = f"needs approval ({status.pending_gate})" if status.pending_gate else ""
    stage = status.state.stage or str(status.state.state)
    return (
        Text(status.name),
        Text(stage, style=_STYLES.get(status.state.state, "")),
        Text(_units(verdict)),
        Text(_goal(verdict)),
        Text(guardrails_held(verdict)),
        Text(
            waits or what_now(status, verdict).replace("\n", "; "),
            style="yellow" if waits else "",
            no_wrap=True,
            overflow="ellipsis",
        ),
    )


def relative_change(result: MetricResult) -> str:
    """Write a metric's effect with its interval: `-34 % (-41 to -27 %)`, or in percentage points."""
    if result.effect is None:
        return UNKNOWN
    unit = "pp" if result.absolute else "%"
    low, mid, high = (
        f"{value * 100:+.1f}" for value in (result.effect.low, result.effect.estimate, result.effect.high)
    )
    return f"{mid} {unit} ({low} to {high})"


def _units(verdict: Verdict | None) -> str:
    return f"{verdict.treatment_units} + {verdict.baseline_units}" if verdict else UNKNOWN


def _goal(verdict: Verdict | None) -> str:
    goal = next((metric for metric in verdict.metrics if metric.role == "goal"), None) if verdict else None
    return f"{goal.metric} {relative_change(goal)}" if goal else UNKNOWN


def _before_after(standing: Standing | None) -> str:
    """Write before against after under the verdict's effect, named as what it is."""
    found = standing.before_after if standing else None
    if found is None:
        return ""
    low, mid, high = (f"{100 * end:+.1f}" for end in (found.effect.low, found.effect.estimate, found.effect.high))
    return f"\nbefore/after, descriptive only: {mid} % ({low} to {high})"


def guardrails_held(verdict: Verdict | None) -> str:
    """Write how many guardrails hold, or which show harm."""
    guards = [metric for metric in verdict.metrics if metric.role == "guardrail"] if verdict else []
    if not guards:
        return UNKNOWN
    harmed = [metric.metric for metric in guards if metric.harmed]
    held = sum(metric.held for metric in guards)
    return f"harm: {', '.join(harmed)}" if harmed else f"{held} of {len(guards)} held"


def what_now(status: PolicyStatus, verdict: Verdict | None) -> str:
    """Write what a policy waits for and what its comparison says."""
    if status.withheld:
        return "taken back; the ledger cannot be written"
    if status.violations:
        return f"forbidden: {'; '.join(status.violations)}"
    waits = f"needs approval: perfopt approve {status.name}" if status.pending_gate else ""
    said = verdict.reason if verdict else status.state.reason
    if status.state.state is State.INCONCLUSIVE:
        return f"{said}\nperfopt extend, retry or retire {status.name}"
    return f"{waits} ({status.pending_gate})" + (f"\n{said}" if said else "") if waits else said
