"""How long what waits would take: a console's queue in, units and days until each verdict out."""

from __future__ import annotations

from collections.abc import Mapping

from otel_perfopt.console.desk import Desk
from otel_perfopt.console.loop_thread import Seen
from otel_perfopt.loop.queue import QUEUED


def queue_sizes(desk: Desk, seen: Seen) -> Mapping[str, tuple[float | None, float | None]]:
    """Return units and days until a verdict by policy: the proposal's own, else the plan's once it is worked out."""
    status = {one.name: one for one in seen.statuses}
    others = [one for one in seen.statuses if one.state.state in QUEUED]
    found: dict[str, tuple[float | None, float | None]] = {}
    for item in seen.queue:
        found[item.policy] = (item.expected_units, item.expected_days)
        if item.expected_units is None:
            plan, _ = desk.plans.plan(status[item.policy], others, seen.boundaries)
            if plan is not None:
                found[item.policy] = (plan.size.units, plan.size.days)
    return found
