"""Where policies stand, for a terminal: statuses and standings in, rich tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
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
# Columns of a line, from all that there is to what a narrow terminal has room for.
_COLUMNS_TRIED = (
    ("policy", "state", "units", "goal so far", "guardrails"),
    ("policy", "state", "units", "goal", "guardrails"),
    ("policy", "state", "units", "goal"),
    ("policy", "state", "goal"),
    ("policy", "state"),
)
_TITLES = {"goal": "goal so far"}
_LEAST_SAID = 22


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
            Text(what_now(status, standing)),
        )
    return table


def policy_list(statuses: Sequence[PolicyStatus], standings: Mapping[str, Standing]) -> Group:
    """Return a line a policy, and below what each waits for and says: for terminals too narrow for the table."""
    told = []
    for status in statuses:
        standing = standings.get(status.name)
        said = what_now(status, standing) + _before_after(standing)
        told.append(Text.assemble((status.name, "bold"), "\n", said.strip()) if said else Text(status.name))
    return Group(PolicyLines(statuses, standings, says=False), *(Padding(text, (1, 0, 0, 0)) for text in told))


class PolicyLines:
    """One line a policy, what waits for a person first; what has no room is left out, and only what is said is cut."""

    def __init__(
        self, statuses: Sequence[PolicyStatus], standings: Mapping[str, Standing], *, says: bool = True
    ) -> None:
        ranked = sorted(statuses, key=lambda one: (one.pending_gate is None, one.name))
        self._rows = [_line(status, standings.get(status.name)) for status in ranked]
        self._says = says

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Give as many columns as there is room for."""
        said = _LEAST_SAID if self._says else 0
        drawn = (self._columns(names) for names in _COLUMNS_TRIED)
        fitting = (columns for columns in drawn if sum(width + 2 for _, width in columns) + said <= options.max_width)
        columns = next(fitting, self._columns(_COLUMNS_TRIED[-1]))
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for name, width in columns:
            table.add_column(_TITLES.get(name, name), no_wrap=True, width=width)
        if self._says:
            table.add_column("now")
        for row in self._rows:
            table.add_row(*(row[name] for name, _ in columns), *([row["now"]] if self._says else []))
        yield table

    def _columns(self, names: Sequence[str]) -> list[tuple[str, int]]:
        titles = ((name, _TITLES.get(name, name)) for name in names)
        return [(name, max((len(title), *(len(row[name]) for row in self._rows)))) for name, title in titles]


def _line(status: PolicyStatus, standing: Standing | None) -> Mapping[str, Text]:
    verdict = standing.verdict if standing else None
    waits = f"needs approval ({status.pending_gate})" if status.pending_gate else ""
    stage = status.state.stage or str(status.state.state)
    said = waits or what_now(status, standing).replace("\n", "; ")
    return {
        "policy": Text(status.name),
        "state": Text(stage, style=_STYLES.get(status.state.state, "")),
        "units": Text(_units(verdict)),
        "goal so far": Text(_goal(verdict)),
        "goal": Text(_goal(verdict).partition(" (")[0]),
        "guardrails": Text(guardrails_held(verdict)),
        "now": Text(said, style="yellow" if waits else "", no_wrap=True, overflow="ellipsis"),
    }


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


def _in_shadow(status: PolicyStatus, standing: Standing | None) -> str:
    """Write what a shorter context must show before anybody is given it; empty where nothing must be shown."""
    needed = status.policy.spec.needed_retention
    if status.state.state is not State.SHADOW or not needed:
        return ""
    shadow = standing.observation.shadow if standing else None
    found = shadow.retained if shadow is not None else None
    so_far = f"so far {found}" if found is not None else "so far no reply was seen to use any of it"
    return f"in shadow until the shorter context is shown to keep {needed:.0%} of what replies use: {so_far}"


def what_now(status: PolicyStatus, standing: Standing | None) -> str:
    """Write what a policy waits for and what its comparison, or its shadow, says."""
    verdict = standing.verdict if standing else None
    if status.withheld:
        return "taken back; the ledger cannot be written"
    if status.violations:
        return f"forbidden: {'; '.join(status.violations)}"
    waits = f"needs approval: perfopt approve {status.name}" if status.pending_gate else ""
    said = verdict.reason if verdict else _in_shadow(status, standing) or status.state.reason
    if status.state.state is State.INCONCLUSIVE:
        return f"{said}\nperfopt extend, retry or retire {status.name}"
    return f"{waits} ({status.pending_gate})" + (f"\n{said}" if said else "") if waits else said
