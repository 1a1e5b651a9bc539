"""Policies and their roll-outs: where each stands in, one page a policy with everything that may be asked of it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from otel_perfopt.console.actions import ACTIONS, Action, Asked, checked_reason, do
from otel_perfopt.console.declared_change import declared_change, document_text
from otel_perfopt.console.desk import Visit
from otel_perfopt.console.drawing.interval_chart import IntervalPath, interval_chart
from otel_perfopt.console.interval_path import interval_paths
from otel_perfopt.console.loop_thread import Seen
from otel_perfopt.console.next_step import NextStep, next_step
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import EVERY_POLICY, State
from otel_perfopt.decide.trial_outcome import prediction_in
from otel_perfopt.errors import PerfoptError
from otel_perfopt.loop.queue import QUEUED
from otel_perfopt.report.policy_plan import plan_facts
from otel_perfopt.report.standing import guardrails_held, relative_change
from otel_perfopt.verify.metric_kind import FAULT
from otel_perfopt.verify.verdict import Verdict

_SHOWN_FIRST = (State.ACTIVE, State.CANARY, State.INCONCLUSIVE, State.SHADOW, State.AWAITING, State.PROPOSED)
_RANK = {state: rank for rank, state in enumerate(_SHOWN_FIRST)}
# Of the states of a life, the way that leads to everybody; what else there is ends it.
WAY = (State.DORMANT, State.PROPOSED, State.AWAITING, State.SHADOW, State.CANARY, State.ACTIVE)


def policies(visit: Visit) -> Response:
    """Show every policy."""
    seen = visit.desk.loop.seen
    if seen is None:
        return visit.page("starting.html", 503)
    rows = [_row(status, seen) for status in sorted(seen.statuses, key=_order)]
    return visit.page("policies.html", rows=rows, problems=seen.faults)


@dataclass(frozen=True, slots=True)
class Row:
    """One policy as the list shows it."""

    status: PolicyStatus
    verdict: Verdict | None
    goal: str
    guardrails: str
    step: NextStep


def _row(status: PolicyStatus, seen: Seen) -> Row:
    standing = seen.turn.standings.get(status.name)
    verdict = standing.verdict if standing is not None else None
    goal = next((one for one in verdict.metrics if one.role == "goal"), None) if verdict is not None else None
    change = f"{goal.metric} {relative_change(goal)}" if goal is not None else ""
    return Row(status, verdict, change, guardrails_held(verdict), next_step(status, verdict))


def _order(status: PolicyStatus) -> tuple[int, str]:
    """Rank what agents do today first, then what is on its way, then what ended."""
    state = status.state.state
    return (_RANK.get(state, len(_RANK)), status.name)


def policy(visit: Visit) -> Response:
    """Show one policy: its life, its comparison, its plan, its text, and what may be asked of it."""
    seen, name = visit.desk.loop.seen, visit.request.path_params["name"]
    if seen is None:
        return visit.page("starting.html", 503)
    status = seen.status(name)
    if status is None:
        raise HTTPException(404, f"there is no policy {name!r}")
    standing = seen.turn.standings.get(name)
    verdict = standing.verdict if standing is not None else None
    paths = interval_paths(status, standing, seen.turn.now_ns) if standing is not None else ()
    plan, no_plan = visit.desk.plans.plan(status, _queued(seen), seen.boundaries)
    return visit.page(
        "policy.html",
        status=status,
        way=WAY,
        verdict=verdict,
        step=next_step(status, verdict),
        before_after=standing.before_after if standing is not None else None,
        charts=_charts(paths),
        change=relative_change,
        fault_metric=FAULT,
        predicted=prediction_in(status.loaded.raw),
        outcomes=[outcome for outcome in seen.learned.outcomes if outcome.policy == name],
        plan=plan,
        facts=list(plan_facts(plan)) if plan is not None else [],
        no_plan=no_plan,
        text=_text(visit.desk.settings.home, status),
        difference=declared_change(status, seen),
        entries=[entry for entry in reversed(seen.entries) if entry.policy in {name, EVERY_POLICY}][:50],
        actions=_actions(status),
    )


def act(visit: Visit, form: dict[str, str]) -> Response:
    """Do what is asked of one policy."""
    name, event = visit.request.path_params["name"], visit.request.path_params["event"]
    if event not in ACTIONS:
        raise HTTPException(404, f"nobody can {event} a policy")
    _do(visit, event, name, form)
    return RedirectResponse(f"/policies/{name}", 303)


def kill_switch(visit: Visit) -> Response:
    """Show the switch for everything."""
    seen = visit.desk.loop.seen
    exposed = sorted((status for status in seen.statuses if status.state.stage), key=_order) if seen is not None else []
    return visit.page("kill.html", exposed=exposed)


def act_on_all(visit: Visit, form: dict[str, str]) -> Response:
    """Switch everything off, or on again."""
    event = visit.request.path_params["event"]
    if event not in {"kill", "unkill"}:
        raise HTTPException(404, f"nobody can {event} everything")
    _do(visit, event, None, form)
    return RedirectResponse("/kill", 303)


def _do(visit: Visit, event: str, name: str | None, form: dict[str, str]) -> None:
    desk = visit.desk
    try:
        asked = Asked(name, visit.session.actor, checked_reason(form.get("reason", "")), desk.clock(), form)
        done = do(desk.settings.home, event, asked)
    except PerfoptError as error:
        visit.note(f"Not done: {error}", good=False)
        return
    desk.loop.look_now()
    steps = "; ".join(f"{step.policy}: {step.from_state} → {step.to_state}" for step in done)
    what = f"{ACTIONS[event].button}: {name or 'everything'}"
    visit.note(f"{what}. {steps}" if steps else f"{what}. It is on the ledger.", good=True)


def _queued(seen: Seen) -> list[PolicyStatus]:
    return [status for status in seen.statuses if status.state.state in QUEUED]


def _charts(paths: tuple[IntervalPath, ...]) -> list[tuple[IntervalPath, Markup]]:
    drawn = ((found, interval_chart(found)) for found in paths)
    return [(found, chart) for found, chart in drawn if chart is not None]


def _text(home: Path, status: PolicyStatus) -> str:
    try:
        return (home / status.loaded.file).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return document_text(status.loaded.raw)


def _actions(status: PolicyStatus) -> list[tuple[str, Action]]:
    """Return what a person may ask for now, what goes forward first."""
    possible = {*status.can, *(("approve",) if status.pending_gate else ())}
    return [(event, action) for event, action in ACTIONS.items() if event in possible]
