"""What waits for somebody: policies that are not in force yet in, best first, out."""

from __future__ import annotations

from starlette.responses import Response

from otel_perfopt.console.desk import Desk, Visit
from otel_perfopt.console.loop_thread import Seen
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.loop.queue import QUEUED, QueueItem


def proposals(visit: Visit) -> Response:
    """Show the queue, and every policy that waits for an approval."""
    seen = visit.desk.loop.seen
    if seen is None:
        return visit.page("starting.html", 503)
    status = {one.name: one for one in seen.statuses}
    return visit.page(
        "proposals.html",
        queue=seen.queue,
        size={item.policy: _size(visit.desk, seen, item, status[item.policy]) for item in seen.queue},
        status=status,
        waiting=[status for status in seen.statuses if status.pending_gate],
        problems=seen.faults,
    )


def _size(desk: Desk, seen: Seen, item: QueueItem, status: PolicyStatus) -> tuple[float | None, float | None]:
    """Return units and days until a verdict: the proposal's own, else the plan's as soon as it is worked out."""
    if item.expected_units is not None:
        return item.expected_units, item.expected_days
    others = [one for one in seen.statuses if one.state.state in QUEUED]
    plan, _ = desk.plans.plan(status, others, seen.boundaries)
    return (plan.size.units, plan.size.days) if plan is not None else (None, None)
