"""A span as it ended in, the kind of step and its attributes in our vocabulary out; cheap, and no kind for what is no agent's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
from otel_perfopt.signal.emit.ended_span import EndedSpan
from otel_perfopt.signal.emit.processor import TELLING

# Content costs most to read, and nothing is measured of it.
_CONTENT: Final = frozenset((*CONTENT_NAMES, *CLAUDE_CODE_CONTENT, *ARGUMENT_NAMES, *RESULT_NAMES))
_PREFIXES: Final = tuple(CONTENT_PREFIXES)
MODULE: Final = "module"


def step_of(span: EndedSpan) -> tuple[str, Mapping[str, Any]]:
    """Return what kind of step the span is (empty: none) and its attributes under our names."""
    plain = span.attributes
    kind = plain.get(c.STEP_KIND)
    if kind is not None:
        return kind, plain
    known = KINDS_BY_OPERATION.get(plain.get(c.GEN_AI_OPERATION_NAME, ""))
    if known is not None and _is_official(plain):
        return known, plain
    if c.MODULE_NAME in plain:
        return MODULE, plain
    if TELLING.isdisjoint(plain):
        return "", plain
    scope = span.scope
    told = {key: value for key, value in plain.items() if key not in _CONTENT and not key.startswith(_PREFIXES)}
    found = normalise(span.name, told, scope.name if scope is not None else "")
    return str(found.get(c.STEP_KIND) or ""), found


def _is_official(plain: Mapping[str, Any]) -> bool:
    """Tell whether nothing needs translating: tokens under the conventions' names, cached ones included."""
    get = plain.get
    tokens = get(c.GEN_AI_USAGE_INPUT_TOKENS)
    if type(tokens) is not int or c.GEN_AI_USAGE_CACHE_CREATION_TOKENS in plain:
        return False
    return tokens >= (get(c.GEN_AI_USAGE_CACHE_READ_TOKENS) or 0) + (get(c.GEN_AI_USAGE_CACHE_WRITE_TOKENS) or 0)


def error_type(span: EndedSpan, attributes: Mapping[str, Any]) -> str:
    """Return what went wrong: `error.type`, else the exception's or the status's word; empty for a span without error."""
    told = attributes.get(c.ERROR_TYPE)
    if told:
        return str(told)
    return "_OTHER" if span.status is StatusCode.ERROR else ""
