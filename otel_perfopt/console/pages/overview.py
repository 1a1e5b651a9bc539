"""The first page: what the last turn saw in; goals, optimizations in force, the queue and our own health out."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from otel_perfopt.console.desk import Desk, Visit
from otel_perfopt.console.loop_thread import Seen
from otel_perfopt.console.queue_size import queue_sizes
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import State
from otel_perfopt.loop.queue import QUEUED
from otel_perfopt.measure.meter_process import resident_bytes
from otel_perfopt.report.clock_ahead import clocks_ahead
from otel_perfopt.report.standing import guardrails_held, relative_change
from otel_perfopt.report.wording import UNKNOWN, clock, count, counted, seconds
from otel_perfopt.verify.verdict import Verdict

_TESTING = frozenset({State.CANARY, State.SHADOW})


@dataclass(frozen=True, slots=True)
class Row:
    """One optimization: what it is, where it stands in the dashboard's words, and what was measured of it."""

    name: str
    does: str
    word: str
    stage: str
    impact: str
    guardrails: str
    waits: bool


def overview(visit: Visit) -> Response:
    """Show the dashboard."""
    seen = visit.desk.loop.seen
    if seen is None:
        return visit.page("starting.html", 503)
    rows = [_row(status, seen) for status in seen.statuses if status.state.stage or status.state.state in QUEUED]
    waiting = [status for status in seen.statuses if status.pending_gate]
    return visit.page(
        "overview.html",
        goals=seen.goals,
        rows=sorted(rows, key=lambda row: (_ORDER[row.word], not row.stage.startswith("canary"), row.name)),
        queue=seen.queue,
        size=queue_sizes(visit.desk, seen),
        waiting=waiting,
        findings=len(seen.findings),
        health=_health(visit.desk, seen),
        seen=seen,
    )


_ORDER = {"active": 0, "testing": 1, "planned": 2}


def _row(status: PolicyStatus, seen: Seen) -> Row:
    state = status.state.state
    standing = seen.turn.standings.get(status.name)
    verdict = standing.verdict if standing is not None else None
    word = "active" if state is State.ACTIVE else "testing" if state in _TESTING else "planned"
    return Row(
        name=status.name,
        does=status.policy.spec.optimize.type,
        word=word,
        stage=status.state.stage or str(state),
        impact=_impact(verdict),
        guardrails=guardrails_held(verdict),
        waits=status.pending_gate is not None,
    )


def _impact(verdict: Verdict | None) -> str:
    goal = next((metric for metric in verdict.metrics if metric.role == "goal"), None) if verdict else None
    return f"{goal.metric} {relative_change(goal)}" if goal is not None else UNKNOWN


def _health(desk: Desk, seen: Seen) -> list[tuple[str, str, bool]]:
    """Return what is to be said of ourselves: name, value, and whether that is as it should be."""
    snapshot, received, memory = seen.turn.snapshot, desk.received, resident_bytes()
    decisions = counted(len(snapshot.decisions), "decision") if snapshot is not None else UNKNOWN
    turns = f"{count(seen.turns)} turns, the last at {clock(seen.turn.now_ns)} UTC in {seconds(seen.took_s)}"
    kept = f"{count(received.spans)} spans in {counted(received.requests, 'request')}"
    return [
        ("Loop", turns, desk.loop.alive and not desk.loop.fault),
        (
            "Telemetry",
            f"{counted(seen.runs, 'run')} followed, {count(seen.unread)} lines not readable",
            not seen.unread,
        ),
        (
            "Received by OTLP",
            f"{kept}, {count(received.rejected + received.refused)} refused",
            not received.rejected + received.refused,
        ),
        (
            "Ledger",
            f"{count(seen.head.sequence)} {'entry' if seen.head.sequence == 1 else 'entries'}, head {seen.head.hash[:12]}",
            seen.healthy,
        ),
        (
            "Snapshot",
            f"generation {snapshot.generation}, {decisions}" if snapshot is not None else "not published",
            snapshot is not None,
        ),
        *(("Clocks", text, False) for text in clocks_ahead(desk.settings.home, desk.clock())),
        ("Memory", f"{memory / 1e6:,.0f} MB" if memory is not None else UNKNOWN, True),
    ]
