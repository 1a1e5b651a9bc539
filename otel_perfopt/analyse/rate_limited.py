"""Whether a call was turned away for coming too often: a step in, yes or no out."""

from __future__ import annotations

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Step

# How client libraries and providers name a refusal by rate or load: 429s, and Anthropic's 529.
_WORDS = ("ratelimit", "toomanyrequests", "throttl", "overloaded", "quotaexceeded", "resourceexhausted")
_CODES = frozenset({"429", "529"})


def is_rate_limited(step: Step) -> bool:
    """Tell whether a failed call was refused for its rate: by its error type, or the HTTP status it states."""
    if step.error_type is None:
        return False
    said = step.error_type.lower().replace("_", "").replace("-", "").replace(" ", "")
    if said in _CODES or any(word in said for word in _WORDS):
        return True
    return str(step.attributes.get(c.HTTP_RESPONSE_STATUS_CODE, "")) in _CODES
