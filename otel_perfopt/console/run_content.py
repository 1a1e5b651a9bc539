"""What was said in a run, only for who started the console with `--show-content`: a trace's id in, its texts by span out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otel_perfopt.console.trace_lines import trace_lines
from otel_perfopt.signal.dialect_table import CONTENT_NAMES
from otel_perfopt.signal.read.otlp_line import TRACES, attributes_of

_MOST_TEXT = 4_000


def run_content(home: Path, trace_id: str) -> Mapping[str, Mapping[str, str]]:
    """Return the recorded prompts, arguments and results of a trace by span id, each cut to 4,000 characters."""
    found: dict[str, dict[str, str]] = {}
    for line in trace_lines(home, trace_id):
        for resource in line.get(TRACES, ()):
            for scope in resource.get("scopeSpans", ()):
                for span in scope.get("spans", ()):
                    if span.get("traceId") == trace_id and (texts := _texts(span)):
                        found.setdefault(str(span.get("spanId", "")), {}).update(texts)
    return found


def _texts(span: Mapping[str, Any]) -> dict[str, str]:
    told = attributes_of(span.get("attributes"))
    for event in span.get("events") or ():
        told |= attributes_of(event.get("attributes"))
    return {name: str(value)[:_MOST_TEXT] for name, value in told.items() if name in CONTENT_NAMES}
