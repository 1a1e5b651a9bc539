"""The table of libraries that are instrumented when a program imports them: a module's name in, what takes it over out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.frameworks import (
    anthropic_messages,
    langchain_tools,
    langgraph_runs,
    mcp_session,
    openai_agents,
    openai_chat,
    openai_responses,
    pydantic_ai_tools,
)


@dataclass(frozen=True, slots=True)
class Integration:
    """One library: `instrument` is called with each of `modules` when it has been imported, never before."""

    name: str
    modules: tuple[str, ...]
    instrument: Callable[[object], list[Interception]]


INTEGRATIONS = (
    Integration("openai chat", openai_chat.MODULES, openai_chat.instrument_module),
    Integration("openai responses", openai_responses.MODULES, openai_responses.instrument_module),
    Integration("anthropic", anthropic_messages.MODULES, anthropic_messages.instrument_module),
    Integration("openai agents", openai_agents.MODULES, openai_agents.instrument_module),
    Integration("langchain tools", langchain_tools.MODULES, langchain_tools.instrument_module),
    Integration("langgraph", langgraph_runs.MODULES, langgraph_runs.instrument_module),
    Integration("mcp", mcp_session.MODULES, mcp_session.instrument_module),
    Integration("pydantic-ai", pydantic_ai_tools.MODULES, pydantic_ai_tools.instrument_module),
)
