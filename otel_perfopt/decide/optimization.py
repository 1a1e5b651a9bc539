"""Which optimizations a policy may name: a type's word in, its parameters' model, safety and risk out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from otel_perfopt.decide.model_base import DeclaredModel, Text, one_as_tuple
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


class SharedParameters(DeclaredModel):
    """What every optimization of tool calls has.

    `max_wait_s` bounds how long a call waits for another's result; `invalidates` says which writes
    make results unusable (absent: in a conversation its own; of others those that share a value).
    """

    max_wait_s: Duration = Field(default=2.0, alias="maxWait")
    invalidates: Invalidates = None

    def published(self) -> dict[str, Any]:
        """Return the parameters as the agent side reads them: field names, seconds, nothing that is empty."""
        values = self.model_dump(mode="python", by_alias=False)
        return {name: value for name, value in values.items() if value not in (None, "")}


class ToolCacheParameters(SharedParameters):
    """How results are kept: `ttl_s` how long, `scope` who shares them, and how many or how much.

    `version` is part of every key, so changing it forgets everything.
    """

    ttl_s: Duration = Field(default=300.0, alias="ttl")
    scope: Literal["conversation", "user", "tenant", "process"] = "conversation"
    version: Text = ""
    max_entries: int = Field(default=1024, ge=1, le=1_000_000)
    max_bytes: int = Field(default=16 << 20, ge=1024, le=1 << 34)


class ParallelToolsParameters(SharedParameters):
    """How many of the calls that one reply asks for may run at once."""

    max_concurrency: int = Field(default=8, ge=2, le=64)


class ToolCache(DeclaredModel):
    """Keep the results of read-only tools for a while."""

    type: Literal["tool_cache"]
    parameters: ToolCacheParameters = Field(default=ToolCacheParameters(), alias="with")


class ParallelTools(DeclaredModel):
    """Start all read-only tool calls of one reply at once."""

    type: Literal["parallel_tools"]
    parameters: ParallelToolsParameters = Field(default=ParallelToolsParameters(), alias="with")


Optimize = Annotated[ToolCache | ParallelTools, Field(discriminator="type")]


@dataclass(frozen=True, slots=True)
class OptimizationType:
    """What is known of a type before anybody uses it.

    `model` is its part of a policy; `read_only` says that it may only touch tools declared `read`;
    `shadow_free` that watching it in shadow changes nothing for the agent, so that shadow needs no
    approval; `risk` and `does` are for people.
    """

    model: type[DeclaredModel]
    read_only: bool
    shadow_free: bool
    risk: str
    does: str


OPTIMIZATION_TYPES: Mapping[str, OptimizationType] = {
    "tool_cache": OptimizationType(
        model=ToolCache,
        read_only=True,
        shadow_free=True,
        risk="medium: a result may be up to one ttl old",
        does="answers a repeated read-only tool call from the result of the first",
    ),
    "parallel_tools": OptimizationType(
        model=ParallelTools,
        read_only=True,
        shadow_free=True,
        risk="low: the same calls, sooner; a tool that is not safe to call at once may suffer",
        does="starts the independent read-only tool calls of one reply at once",
    ),
}
