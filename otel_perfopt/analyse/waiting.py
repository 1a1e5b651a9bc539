"""Whose time a step's is: a step in, whether it waits for a person out."""

from __future__ import annotations

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Step

# A call that a person refused lasted until they did.
REJECTED = "user_rejected"
# Span names by which agents report a wait for permission.
_WAIT_SUFFIXES = (".blocked_on_user", ".wait_for_user")


def waits_for_person(step: Step) -> bool:
    """Tell whether the step's duration is mostly a person's: a question asked, a permission awaited or refused."""
    refused = step.error_type == REJECTED
    return refused or step.attributes.get(c.WAITS_FOR_USER) is True or step.name.endswith(_WAIT_SUFFIXES)
