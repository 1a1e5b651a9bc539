"""What waits for somebody: policies that are not in force yet in, best first, out."""

from __future__ import annotations

from starlette.responses import Response

from otel_perfopt.console.desk import Visit
from otel_perfopt.console.queue_size import queue_sizes


def proposals(visit: Visit) -> Response:
    """Show the queue, and every policy that waits for an approval."""
    seen = visit.desk.loop.seen
    if seen is None:
        return visit.page("starting.html", 503)
    return visit.page(
        "proposals.html",
        queue=seen.queue,
        size=queue_sizes(visit.desk, seen),
        status={status.name: status for status in seen.statuses},
        problems=seen.faults,
    )
