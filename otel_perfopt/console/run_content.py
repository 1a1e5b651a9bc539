"""What was said in a run, only for who started the console with `--show-content`: a trace's id in, its texts by span out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.signal.dialect_table import CONTENT_NAMES
from otel_perfopt.signal.read.otlp_line import TRACES, attributes_of

_MOST_BYTES = 256 << 20
_MOST_TEXT = 4_000


def run_content(home: Path, trace_id: str) -> Mapping[str, Mapping[str, str]]:
    """Return the recorded prompts, arguments and results of a trace by span id, each cut to 4,000 characters.

    The newest telemetry is looked through first, as far as 256 MiB.
    """
    found: dict[str, dict[str, str]] = {}
    left = _MOST_BYTES
    folder = home / TELEMETRY_FOLDER
    files = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    wanted = trace_id.encode()
    for file in files:
        with file.open("rb") as stream:
            for line in stream:
                left -= len(line)
                if wanted in line:
                    _take(line, trace_id, found)
        if left <= 0:
            break
    return found


def _take(line: bytes, trace_id: str, found: dict[str, dict[str, str]]) -> None:
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    for resource in said.get(TRACES, ()) if isinstance(said, dict) else ():
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                if span.get("traceId") == trace_id:
                    texts = _texts(span)
                    if texts:
                        found.setdefault(str(span.get("spanId", "")), {}).update(texts)


def _texts(span: Mapping[str, object]) -> dict[str, str]:
    told = attributes_of(span.get("attributes"))
    for event in span.get("events") or ():  # type: ignore[attr-defined]  # the reader took this line, so it is a list
        told |= attributes_of(event.get("attributes"))
    return {name: str(value)[:_MOST_TEXT] for name, value in told.items() if name in CONTENT_NAMES}
