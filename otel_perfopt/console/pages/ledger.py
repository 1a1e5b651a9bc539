"""What was decided: the ledger in, its entries newest first and the state of its chain out."""

from __future__ import annotations

from starlette.responses import Response

from otel_perfopt.console.desk import Visit
from otel_perfopt.console.paging import first_row
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.errors import LedgerError
from otel_perfopt.report.ledger import what_happened

_A_PAGE = 100


def ledger(visit: Visit) -> Response:
    """Verify the chain and show its entries."""
    query = visit.request.query_params
    wanted = {name: query.get(name, "").strip() for name in ("policy", "actor", "event")}
    book, problem = Ledger(visit.desk.settings.home / LEDGER_FILE), ""
    try:
        # The whole chain, from its first line, as `perfopt ledger verify` does.
        book.refresh()
    except LedgerError as error:
        problem = str(error)
    seen = visit.desk.loop.seen
    entries = book.entries if not problem else (seen.entries if seen is not None else ())
    fitting = [
        entry
        for entry in reversed(entries)
        if wanted["policy"] in {"", entry.policy}
        and wanted["actor"].lower() in entry.actor.lower()
        and wanted["event"] in {"", entry.event}
    ]
    start = first_row(query.get("from", ""), len(fitting))
    return visit.page(
        "ledger.html",
        entries=[(entry, what_happened(entry)) for entry in fitting[start : start + _A_PAGE]],
        fitting=len(fitting),
        start=start,
        a_page=_A_PAGE,
        head=book.head,
        problem=problem,
        policies=sorted({entry.policy for entry in entries}),
        events=sorted({entry.event for entry in entries}),
        wanted=wanted,
    )
