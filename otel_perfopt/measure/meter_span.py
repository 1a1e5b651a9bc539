"""A span as it ended in, its attributes in our vocabulary out, or None for a span that is not an agent's; cheap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect import normalise
from otel_perfopt.signal.dialect_table import (
    ARGUMENT_NAMES,
    CLAUDE_CODE_CONTENT,
    CONTENT_NAMES,
    CONTENT_PREFIXES,
    OPERATION_NAMES,
    RESULT_NAMES,
)

# A span without any of these is no step of an agent, whoever made it.
TELLING: Final = frozenset((*OPERATION_NAMES, c.STEP_KIND, c.MODULE_NAME, "llm.request.type"))
# Content costs most to read, and nothing is measured of it.
_CONTENT: Final = frozenset((*CONTENT_NAMES, *CLAUDE_CODE_CONTENT, *ARGUMENT_NAMES, *RESULT_NAMES))
_PREFIXES: Final = tuple(CONTENT_PREFIXES)


def plain_attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """Return the span's attributes without a copy; the SDK's own mapping costs ten times as much to read."""
    kept = getattr(getattr(span, "_attributes", None), "_dict", None)
    return kept if isinstance(kept, dict) else (span.attributes or {})


def step_attributes(span: ReadableSpan) -> Mapping[str, Any] | None:
    """Return the attributes under our names with the kind of step, or None."""
    plain = plain_attributes(span)
    if c.STEP_KIND in plain:
        return plain
    if TELLING.isdisjoint(plain):
        return None
    scope = span.instrumentation_scope
    told = {key: value for key, value in plain.items() if key not in _CONTENT and not key.startswith(_PREFIXES)}
    return normalise(span.name, told, scope.name if scope is not None else "")


def error_type(span: ReadableSpan, attributes: Mapping[str, Any]) -> str:
    """Return what went wrong: `error.type`, else the exception's or the status's word; empty for a span without error."""
    told = attributes.get(c.ERROR_TYPE)
    if told:
        return str(told)
    return "_OTHER" if span.status.status_code is StatusCode.ERROR else ""
