"""Whether another instrumentation makes a span for a model call: its instrumentor classes in, yes or no out."""

from __future__ import annotations

import sys

from opentelemetry import trace

from otel_perfopt import conventions as c

Instrumentors = tuple[tuple[str, str], ...]


def instrumented(instrumentors: Instrumentors) -> bool:
    """Tell whether one of the instrumentors (module, class) is on; none is imported for the question."""
    for module, name in instrumentors:
        loaded = sys.modules.get(module)
        instance = getattr(getattr(loaded, name, None), "_instance", None) if loaded is not None else None
        if getattr(instance, "_is_instrumented_by_opentelemetry", False):
            return True
    return False


def inside_foreign_call() -> bool:
    """Tell whether the current span is another instrumentation's span of a model call."""
    attributes = getattr(trace.get_current_span(), "attributes", None) or {}
    return attributes.get(c.STEP_KIND) is None and (
        attributes.get(c.GEN_AI_OPERATION_NAME) == c.OPERATION_CHAT
        or attributes.get("openinference.span.kind") == "LLM"
    )
