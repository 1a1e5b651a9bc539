"""What a policy may set on `response_cache`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import SCOPES, refuse_unknown, seconds, switch, whole, word

_KNOWN = (
    "ttl_s",
    "scope",
    "version",
    "max_entries",
    "max_bytes",
    "max_wait_s",
    "any_temperature",
    "tool_calls",
)


@dataclass(frozen=True, slots=True)
class ResponseCacheParameters:
    """How replies of models are kept.

    `scope` is who may share a reply. Without `any_temperature` only requests count that ask for
    temperature 0; without `tool_calls` only replies that ask for no tool. `max_wait_s` bounds how long a
    request waits for an equal one under way.
    """

    ttl_s: float = 300.0
    scope: str = "conversation"
    version: str = ""
    max_entries: int = 256
    max_bytes: int = 16 << 20
    max_wait_s: float = 30.0
    any_temperature: bool = False
    tool_calls: bool = False

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ResponseCacheParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, _KNOWN)
        default = cls()
        return cls(
            ttl_s=seconds(raw, "ttl_s", default.ttl_s),
            scope=word(raw, "scope", default.scope, SCOPES),
            version=str(raw.get("version", default.version)),
            max_entries=whole(raw, "max_entries", default.max_entries),
            max_bytes=whole(raw, "max_bytes", default.max_bytes),
            max_wait_s=seconds(raw, "max_wait_s", default.max_wait_s),
            any_temperature=switch(raw, "any_temperature", default=default.any_temperature),
            tool_calls=switch(raw, "tool_calls", default=default.tool_calls),
        )
