"""What a policy may set on `tool_cache`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import SCOPES, refuse_unknown, seconds, whole, word
from otel_perfopt.act.parameters.tools import ToolParameters, read_invalidates

_KNOWN = ("ttl", "ttl_s", "scope", "version", "max_entries", "max_bytes", "max_wait_s", "invalidates", "store")

STORES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True)
class ToolCacheParameters(ToolParameters):
    """How `tool_cache` keeps results.

    `scope` is who may share a result: one conversation (the default), one user, the whole process, or
    `tenant` (the user where known, else the conversation). `version` is part of the key, for the
    day the tool changes. `store` (`redis://…`) shares results with the other processes that name it.
    """

    ttl_s: float = 60.0
    scope: str = "conversation"
    version: str = ""
    max_entries: int = 1024
    max_bytes: int = 16 << 20
    store: str = ""

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ToolCacheParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, _KNOWN)
        default = cls()
        invalidates, complete = read_invalidates(raw)
        return cls(
            ttl_s=seconds(raw, "ttl_s", seconds(raw, "ttl", default.ttl_s)),
            scope=word(raw, "scope", default.scope, SCOPES),
            version=str(raw.get("version", default.version)),
            max_entries=whole(raw, "max_entries", default.max_entries),
            store=_store(raw),
            max_bytes=whole(raw, "max_bytes", default.max_bytes),
            max_wait_s=seconds(raw, "max_wait_s", default.max_wait_s),
            invalidates=invalidates,
            complete=complete,
        )


def _store(raw: Mapping[str, object]) -> str:
    url = str(raw.get("store") or "")
    if url and not url.startswith(STORES):
        raise ValueError(f"store: must begin with {' or '.join(STORES)}")
    return url
