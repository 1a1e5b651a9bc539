"""What calls to make ahead were asked: findings that name them by where they were recorded in, the same with arguments out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.warm_up_calls import RECORDED, WARM_UP
from otel_perfopt.signal.read.otlp_line import TRACES, attributes_of

MOST_BYTES: Final = 256 << 20
MOST_TEXT: Final = 10_000
_Place = tuple[str, str]


def with_recorded_arguments(findings: Iterable[Finding], telemetry: Path) -> tuple[Finding, ...]:
    """Fill in the arguments of calls to warm up with, where the folder's telemetry holds content.

    The analysis reads no content; a policy that makes a call needs it, and a person reads it before it
    comes into force. Calls whose arguments were not recorded are left out, and a suggestion without any goes.
    """
    given = tuple(findings)
    places = {place for finding in given for call in _calls(finding) if (place := _place(call)) is not None}
    known = recorded_arguments(telemetry, places) if places else {}
    return tuple(_filled(finding, known) for finding in given)


def recorded_arguments(telemetry: Path, places: Iterable[_Place]) -> Mapping[_Place, Mapping[str, Any]]:
    """Return the named arguments of the calls at `places` (trace and span id), from the newest 256 MiB of telemetry."""
    wanted = set(places)
    traces = [trace.encode() for trace, _ in wanted]
    found: dict[_Place, Mapping[str, Any]] = {}
    for line in _newest_lines(telemetry):
        if len(found) == len(wanted):
            break
        if any(trace in line for trace in traces):
            found |= {place: arguments for place, arguments in _arguments_in(line) if place in wanted}
    return found


def _filled(finding: Finding, known: Mapping[_Place, Mapping[str, Any]]) -> Finding:
    calls = _calls(finding)
    suggestion = finding.suggestion
    if suggestion is None or not any(RECORDED in call for call in calls):
        return finding
    filled = []
    for call in calls:
        place = _place(call)
        if place is None:
            filled.append(call)
        elif place in known:
            filled.append({"tool": call["tool"], "arguments": known[place]})
    if not filled and not suggestion.parameters.get("loaders"):
        return replace(finding, suggestion=None)
    return replace(
        finding, suggestion=replace(suggestion, parameters={**suggestion.parameters, "calls": tuple(filled)})
    )


def _calls(finding: Finding) -> Sequence[Mapping[str, Any]]:
    suggestion = finding.suggestion
    calls = suggestion.parameters.get("calls", ()) if suggestion is not None else ()
    warms = suggestion is not None and suggestion.optimization == WARM_UP
    return calls if warms and isinstance(calls, (tuple, list)) else ()


def _place(call: Mapping[str, Any]) -> _Place | None:
    said = call.get(RECORDED)
    return (str(said["trace_id"]), str(said["span_id"])) if isinstance(said, Mapping) else None


def _newest_lines(telemetry: Path) -> Iterator[bytes]:
    left = MOST_BYTES
    files = sorted(telemetry.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for file in files:
        with file.open("rb") as stream:
            for line in stream:
                left -= len(line)
                if left < 0:
                    return
                yield line


def _arguments_in(line: bytes) -> Iterator[tuple[_Place, Mapping[str, Any]]]:
    try:
        said = json.loads(line)
        spans = [
            span for resource in said.get(TRACES, ()) for scope in resource["scopeSpans"] for span in scope["spans"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    for span in spans:
        text = attributes_of(span.get("attributes")).get(c.GEN_AI_TOOL_CALL_ARGUMENTS)
        arguments = _named(text) if isinstance(text, str) and len(text) <= MOST_TEXT else None
        if arguments is not None:
            yield (str(span.get("traceId")), str(span.get("spanId"))), arguments


def _named(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
