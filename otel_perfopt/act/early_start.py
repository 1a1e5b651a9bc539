"""How an early call gets under way: a read-only call in, the early call in a thread or as a task out."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import inspect
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from otel_perfopt.act.call_key import call_key
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.early_call import EarlyCall
from otel_perfopt.act.speculation_pool import SpeculationPool
from otel_perfopt.signal.calls import RunContext, ToolCall

Done = Callable[[], None]


def start_early(
    early: EarlyCall, call: ToolCall, spans: CallSpans, pool: SpeculationPool, on_done: Done | None = None
) -> bool:
    """Make the call of `early` in a thread, or as a task of the loop that runs here; False where neither is to be had.

    `on_done` is called when it has ended, in that thread or loop; it must not raise.
    """
    if inspect.iscoroutinefunction(call.function):
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        early.start_task(loop, partial(_as_coroutine, spans, call))
        if on_done is not None and early.task is not None:
            early.task.add_done_callback(lambda _: on_done())
        return True
    context = contextvars.copy_context()
    return pool.submit(partial(_run, early, context, partial(spans.execute, call), on_done))


def early_twin(
    template: ToolCall, run: RunContext, arguments: Mapping[str, Any], span_attributes: Mapping[str, Any]
) -> tuple[ToolCall, Hashable] | None:
    """Return a call of the template's tool with these arguments, and its key; None where it cannot be made early.

    The arguments are copied: they are somebody else's, and what the tool does to them must not be seen there.
    """
    function = template.function
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return None
    kwargs = {**template.kwargs, **copy.deepcopy(dict(arguments))}
    key = call_key(function, template.args, kwargs)
    if key is None:
        return None
    call = replace(
        template,
        kwargs=kwargs,
        run=run,
        arguments=_named(function, template.args, kwargs),
        span_attributes={**template.span_attributes, **span_attributes},
    )
    return call, key


def _run(early: EarlyCall, context: contextvars.Context, make: Callable[[], Any], on_done: Done | None) -> None:
    early.run_in(context, make)
    if on_done is not None:
        on_done()


async def _as_coroutine(spans: CallSpans, call: ToolCall) -> Any:
    return await spans.execute_async(call)


def _named(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    names = list(bound.arguments)
    return {name: bound.arguments[name] for name in names[len(args) :]}
