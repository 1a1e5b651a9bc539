"""LangGraph: its compiled graphs, as they are imported, in; each run of one a command (or a step of the one around it) out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.emit.scope import Scope, scoped
from otel_perfopt.signal.emit.sent_content import getter, mapping, text
from otel_perfopt.signal.emit.trampoline import Kind
from otel_perfopt.signal.frameworks.agent_run import open_agent
from otel_perfopt.signal.frameworks.model_client import take_methods

MODULES = ("langgraph.pregel.main", "langgraph.pregel")
_IDS = ("thread_id", "session_id", "conversation_id")


def instrument_module(module: object) -> list[Interception]:
    """Take over the ways to run a graph; what undoes it is returned."""
    return take_methods(module, _METHODS)


def _opened(_function: Callable[..., Any], args: tuple[Any, ...], _kwargs: Mapping[str, Any]) -> Scope | None:
    graph, asked, config = args[0], args[1], args[2]
    settings = mapping(mapping(config).get("configurable"))
    conversation = next((str(settings[name]) for name in _IDS if settings.get(name)), "")
    name = text(getter(graph)("name")) or "graph"
    return open_agent(graph, name, asked, conversation_id=conversation, user_id=text(settings.get("user_id")))


# `invoke` runs through `stream`: the same graph inside itself opens nothing.
_METHODS = {
    "Pregel": {
        "invoke": scoped(Kind.SYNC, _opened),
        "ainvoke": scoped(Kind.ASYNC, _opened),
        "stream": scoped(Kind.GENERATOR, _opened),
        "astream": scoped(Kind.ASYNC_GENERATOR, _opened),
    }
}
