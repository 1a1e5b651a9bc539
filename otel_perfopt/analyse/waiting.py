"""Whose time a step's is: a step in, whether it waits for a person and how long the tool itself worked out."""

from __future__ import annotations

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Step

# Span names by which agents report a wait for permission.
_WAIT_SUFFIXES = (".blocked_on_user", ".wait_for_user")


def waits_for_person(step: Step) -> bool:
    """Tell whether the step's duration is mostly a person's: a question asked, a permission awaited."""
    return step.attributes.get(c.WAITS_FOR_USER) is True or step.name.endswith(_WAIT_SUFFIXES)


def own_execution_s(step: Step) -> float | None:
    """Return the seconds the tool itself says it worked, which leave out permission and queueing; None if unsaid."""
    value = step.attributes.get(c.TOOL_EXECUTION_TIME)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        return None
    return float(value)
