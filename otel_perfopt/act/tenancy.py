"""Who may share a result: a scope and a run in, a key for everybody in that scope out."""

from __future__ import annotations

from collections.abc import Hashable

from otel_perfopt.signal.calls import RunContext


def tenant_of(scope: str, run: RunContext | None) -> Hashable | None:
    """Return who may share a result; a run without the id of its scope shares with nobody but itself.

    None: there is no run, or nothing to know it by.
    """
    if scope == "process":
        return scope
    if run is None:
        return None
    if run.user_id and scope in ("user", "tenant"):
        return "user", run.user_id
    if run.conversation_id and scope in ("conversation", "tenant"):
        return "conversation", run.conversation_id, run.user_id
    trace_id = run.span.get_span_context().trace_id
    return ("trace", trace_id) if trace_id else None
