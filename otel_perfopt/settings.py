"""The only reader of `os.environ`: environment variables in, frozen settings out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What the agent side is told by its environment.

    `home` is where telemetry and the snapshot are kept; `tools` and `commands` name functions to
    instrument (`module:glob`, commands also `module:function=/name`); `effects` declares tools
    (`glob=read`); `killed` is the kill switch; `capture_content` lets prompts, arguments and results
    into spans (off, as the conventions ask).
    """

    home: Path = Path(".perfopt")
    enabled: bool = True
    killed: bool = False
    tools: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    capture_content: bool = False
    write_telemetry: bool = False
    service_name: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> AgentSettings:
        """Read the `PERFOPT_*` variables; what is unset keeps its default."""
        source = os.environ if environment is None else environment
        return cls(
            home=Path(source.get("PERFOPT_HOME") or ".perfopt"),
            enabled=not _flag(source, "PERFOPT_DISABLED"),
            killed=_flag(source, "PERFOPT_KILL"),
            tools=_items(source, "PERFOPT_TOOLS"),
            commands=_items(source, "PERFOPT_COMMANDS"),
            effects=_items(source, "PERFOPT_EFFECTS"),
            capture_content=_flag(source, "PERFOPT_CAPTURE_CONTENT"),
            write_telemetry=_flag(source, "PERFOPT_WRITE_TELEMETRY"),
            service_name=source.get("OTEL_SERVICE_NAME", ""),
        )


def _flag(source: Mapping[str, str], name: str) -> bool:
    return source.get(name, "").strip().lower() in _TRUE


def _items(source: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in source.get(name, "").split(",") if item.strip())
