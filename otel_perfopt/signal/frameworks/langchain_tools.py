"""LangChain's tools: each tool object made, or run, in; the function or method behind it taken over out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.emit.trampoline import parameters
from otel_perfopt.signal.frameworks.framework_tool import take_framework_method, take_framework_tool
from otel_perfopt.signal.frameworks.model_client import take_methods

MODULES = ("langchain_core.tools.base",)
# What LangChain fills in whatever the tool is.
_FILLED_IN = frozenset({"run_manager", "callbacks", "config", "runtime"})
_METHODS = ("_run", "_arun")


def instrument_module(module: object) -> list[Interception]:
    """Take over the making and the running of tools (for those made before); what undoes it is returned."""
    return take_methods(module, {"BaseTool": {"__init__": _around_init, "run": _around_run, "arun": _around_run}})


def _around_init(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    _take(args[0])
    return result


def _around_run(function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    _take(args[0])
    return function(*args, **kwargs)


def _take(tool: Any) -> None:
    """Take over what the tool runs: never raises, and costs little when it has been done."""
    try:
        for name in ("coroutine", "func"):
            function = getattr(tool, name, None)
            if function is not None:
                take_framework_tool(function, tool.name, injected=partial(_injected, tool, function))
        for name in _METHODS:
            method = getattr(type(tool), name, None)
            if isinstance(method, FunctionType) and not method.__module__.startswith("langchain_core."):
                take_framework_method(method, injected=_FILLED_IN)
    except Exception as error:
        fault("langchain tool", error)


def _injected(tool: Any, function: Callable[..., Any]) -> frozenset[str]:
    """Return the parameters that no model fills in: LangChain's own, and those annotated as injected."""
    code = getattr(function, "__code__", None)
    if code is None:
        return _FILLED_IN
    positional, keyword_only, _, _ = parameters(code)
    names = {*positional, *keyword_only}
    annotations = getattr(function, "__annotations__", {})
    configured = {name for name in names if "RunnableConfig" in str(annotations.get(name, ""))}
    visible = tool._filter_injected_args(dict.fromkeys(names))  # noqa: SLF001 - how LangChain itself tells
    return frozenset(names - set(visible)) | configured
