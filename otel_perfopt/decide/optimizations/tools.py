"""What optimizations of tool calls share in a policy: which writes count, and how long a call waits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from otel_perfopt.decide.model_base import one_as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationParameters
from otel_perfopt.decide.quantity import Duration


def parse_invalidates(value: object) -> Mapping[str, tuple[str, ...]] | tuple[str, ...]:
    """Return which writes make results stale: patterns of tools, or a mapping of them to the tools they touch.

    Raises:
        ValueError: it is neither; an empty list, by which no write would count, is refused.
    """
    listed = one_as_tuple(value)
    if isinstance(listed, tuple) and listed and all(isinstance(item, str) and item for item in listed):
        return listed
    if isinstance(value, Mapping):
        touched = {key: one_as_tuple(items) for key, items in value.items()}
        if all(isinstance(items, tuple) and all(isinstance(item, str) for item in items) for items in touched.values()):
            return touched  # type: ignore[return-value]  # checked in the line above
    raise ValueError("must be a list of tools that write, or a mapping of them to lists of tools they touch")


_PATTERNS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
Invalidates = Annotated[
    Any,
    PlainValidator(parse_invalidates),
    WithJsonSchema({"anyOf": [*_PATTERNS["anyOf"], {"type": "object", "additionalProperties": _PATTERNS}]}),
]


class ToolParameters(OptimizationParameters):
    """What every optimization of tool calls has.

    `max_wait_s` bounds how long a call waits for another's result; `invalidates` says which writes
    make results unusable (absent: in a conversation its own; of others those that share a value).
    """

    max_wait_s: Duration = Field(default=2.0, alias="maxWait")
    invalidates: Invalidates = None
