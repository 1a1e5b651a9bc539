"""Makes LLM agents faster and cheaper with evidence: an OpenTelemetry extension."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from otel_perfopt.instrumentor import instrument, uninstrument
    from otel_perfopt.signal.emit.preference import prefer
    from otel_perfopt.signal.emit.spans import command, feedback, thinking, tool

__all__ = ["__version__", "command", "feedback", "instrument", "prefer", "thinking", "tool", "uninstrument"]

# Imported when first asked for: an import of this package costs an agent next to nothing.
_HOMES = {
    "command": "otel_perfopt.signal.emit.spans",
    "feedback": "otel_perfopt.signal.emit.spans",
    "prefer": "otel_perfopt.signal.emit.preference",
    "thinking": "otel_perfopt.signal.emit.spans",
    "tool": "otel_perfopt.signal.emit.spans",
    "instrument": "otel_perfopt.instrumentor",
    "uninstrument": "otel_perfopt.instrumentor",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
