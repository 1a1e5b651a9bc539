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
    KINDS_BY_OPERATION,
    RESULT_NAMES,
)
from otel_perfopt.signal.emit.processor import TELLING

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
    kind = KINDS_BY_OPERATION.get(str(plain.get(c.GEN_AI_OPERATION_NAME)))
    if kind is not None and _is_official(plain):
        return {**plain, c.STEP_KIND: kind}
    scope = span.instrumentation_scope
    told = {key: value for key, value in plain.items() if key not in _CONTENT and not key.startswith(_PREFIXES)}
    return normalise(span.name, told, scope.name if scope is not None else "")


def _is_official(plain: Mapping[str, Any]) -> bool:
    """Tell whether nothing needs translating: tokens under the conventions' names, cached ones included."""
    tokens = plain.get(c.GEN_AI_USAGE_INPUT_TOKENS)
    cached = (plain.get(c.GEN_AI_USAGE_CACHE_READ_TOKENS) or 0) + (plain.get(c.GEN_AI_USAGE_CACHE_WRITE_TOKENS) or 0)
    return isinstance(tokens, int) and tokens >= cached and c.GEN_AI_USAGE_CACHE_CREATION_TOKENS not in plain


def error_type(span: ReadableSpan, attributes: Mapping[str, Any]) -> str:
    """Return what went wrong: `error.type`, else the exception's or the status's word; empty for a span without error."""
    told = attributes.get(c.ERROR_TYPE)
    if told:
        return str(told)
    return "_OTHER" if span.status.status_code is StatusCode.ERROR else ""
