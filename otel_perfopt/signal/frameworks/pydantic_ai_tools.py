"""pydantic-ai: its agents and tools, as they are imported, in; commands and tool calls out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType, FunctionType
from typing import Any

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.emit.scope import Scope, scoped
from otel_perfopt.signal.emit.sent_content import sequence, text
from otel_perfopt.signal.emit.trampoline import Kind
from otel_perfopt.signal.frameworks.agent_run import open_agent
from otel_perfopt.signal.frameworks.framework_tool import take_framework_tool
from otel_perfopt.signal.frameworks.model_client import take_function, take_methods

AGENT, TOOLS = "pydantic_ai.agent.abstract", "pydantic_ai.tools"
MODULES = (AGENT, TOOLS)
_FRAMES = 8


def instrument_module(module: object) -> list[Interception]:
    """Take over the ways to run an agent, or the making of tools; what undoes it is returned.

    `run_sync` and `run_stream_sync` run through `run` and `run_stream`. What a person does with the
    nodes of `iter` happens in that person's own code: a command there is for `command()` to say.
    """
    if getattr(module, "__name__", "") == TOOLS:
        return take_methods(module, {"Tool": {"__init__": _around_init}})
    done = take_methods(module, {"AbstractAgent": {"run": scoped(Kind.ASYNC, _opened)}})
    # A context manager made of this asynchronous generator.
    streamed = getattr(getattr(getattr(module, "AbstractAgent", None), "run_stream", None), "__wrapped__", None)
    taken = take_function(streamed, scoped(Kind.ASYNC_GENERATOR, _opened_streamed))
    return done if taken is None else [*done, taken]


def _opened(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope | None:
    return _open(function, args, kwargs, between=0)


def _opened_streamed(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Scope | None:
    return _open(function, args, kwargs, between=1)


def _open(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, between: int
) -> Scope | None:
    agent, asked = args[0], args[1]
    if kwargs.get("infer_name") and agent.name is None:
        _name(agent, function, between)
    said = asked if isinstance(asked, str) else next((part for part in sequence(asked) if isinstance(part, str)), None)
    conversation = text(kwargs.get("conversation_id"))
    return open_agent(agent, text(agent.name) or "agent", said, conversation_id=conversation)


def _name(agent: Any, function: Callable[..., Any], between: int) -> None:
    """Have the agent take the name of the variable it is called by: it looks at its caller, and we stand there."""
    code = getattr(function, "__code__", None)
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no other way to see a caller
    try:
        for _ in range(_FRAMES):
            if frame is None or code is None:
                return
            if (frame.f_code.co_name, frame.f_code.co_filename) == (code.co_name, code.co_filename):
                break
            frame = frame.f_back
        for _ in range(between):
            frame = None if frame is None else frame.f_back
        agent._infer_name(frame)  # noqa: SLF001 - what the agent itself does next, with a frame of ours
    except Exception as error:
        fault("pydantic-ai name", error)
    finally:
        del frame


def _around_init(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    try:
        tool = args[0]
        names = getattr(getattr(tool.function, "__code__", None), "co_varnames", ())
        first = frozenset(names[:1]) if tool.takes_ctx else frozenset()
        take_framework_tool(tool.function, tool.name, injected=lambda: first)
    except Exception as error:
        fault("pydantic-ai tool", error)
    return result
