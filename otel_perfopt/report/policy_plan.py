"""A policy's plan for people and programs: a `PolicyPlan` in, rich text or plain JSON data out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from otel_perfopt.loop.policy_plan import PolicyPlan
from otel_perfopt.report.wording import UNKNOWN, count, seconds, share, share_interval
from otel_perfopt.report.wording import digest as short_digest

_HOUR_DAYS = 1 / 24


def plan_text(plan: PolicyPlan) -> RenderableType:
    """Return one policy's plan for a terminal."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for name, value in plan_facts(plan):
        facts.add_row(name, Text(value))
    title = Text.assemble((plan.name, "bold cyan"), f"  {plan.optimization}, digest {short_digest(plan.digest)}")
    parts: list[RenderableType] = [title, facts, _steps(plan), _watched(plan)]
    parts += [Text(f"forbidden: {problem}", style="red") for problem in plan.forbidden]
    parts += [Text(f"limited: {told}", style="yellow") for told in plan.limited]
    parts += [Text(f"note: {note}", style="yellow") for note in plan.notes]
    return Group(*parts, Text())


def plan_data(plan: PolicyPlan) -> dict[str, Any]:
    """Return one policy's plan as plain JSON data."""
    return {**asdict(plan), "eligible": {**asdict(plan.eligible), "share": plan.eligible.share}}


def days_text(days: float | None) -> str:
    """Write a time in days as people say it: `3 h`, `2.5 days`."""
    if days is None:
        return UNKNOWN
    if days < _HOUR_DAYS:
        return seconds(days * 86_400)
    return f"{days * 24:.1f} h" if days < 2 else f"{days:.1f} days"


def plan_facts(plan: PolicyPlan) -> Iterator[tuple[str, str]]:
    """Yield what a person wants to know first, as names and values."""
    eligible, size = plan.eligible, plan.size
    yield "does", plan.does
    yield "risk", plan.risk
    window = f" in {days_text(eligible.window_days)} of telemetry" if eligible.window_days else ""
    units = f"{count(eligible.units)} of {count(eligible.units_in_all)} units ({share(eligible.share)})"
    yield "eligible", f"{units}, {count(eligible.runs)} of {count(eligible.runs_in_all)} runs{window}"
    yield "traffic", f"{count(eligible.units_per_day)} eligible units a day" if eligible.units_per_day else UNKNOWN
    yield "predicted", _predicted(plan)
    low, high = plan.size_range
    between = f" ({count(low)} to {count(high) if high is not None else 'never'})" if size.units is not None else ""
    slowest = f", most of them for {size.slowest}" if size.slowest else ""
    yield "units", f"{count(size.units)}{between} until a verdict{slowest}" if size.units is not None else UNKNOWN
    yield "until a verdict", f"{days_text(size.days)}, approvals not counted" if size.days is not None else UNKNOWN
    yield "approved by", ", ".join(plan.approvers) or "anybody but its author"


def _predicted(plan: PolicyPlan) -> str:
    if plan.predicted is None:
        return UNKNOWN
    each = plan.eligible.seconds_per_run
    a_run = f", {seconds(each.estimate)} a run" if each is not None else ""
    return f"{plan.predicted_metric} {share_interval(plan.predicted)} lower{a_run}; {plan.assumes}"


def _steps(plan: PolicyPlan) -> Table:
    table = Table("step", "what happens", "needs approval", "units", "takes", header_style="bold", border_style="dim")
    for step in plan.steps:
        cells = (step.stage, step.does, step.gate, count(step.units), days_text(step.days))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _watched(plan: PolicyPlan) -> Table:
    table = Table("watched", "as", "limit", header_style="bold", border_style="dim")
    for watched in plan.watched:
        table.add_row(watched.metric, watched.role, watched.limit)
    table.add_row("alerts", "", ", ".join(rule.alert for rule in plan.alerts))
    return table
