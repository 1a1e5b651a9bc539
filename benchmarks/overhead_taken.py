"""What is added to a framework's own tool call, and to a module's import, where both are watched: µs, paired in rounds."""

from __future__ import annotations

import importlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from overhead_instrumentations import Nowhere, next_result
from overhead_rivals import interval

import otel_perfopt
from otel_perfopt.signal.emit.module_loads import ModuleLoads, watch_loads

CALLS = 50
MODULES = 200


def taken(rounds: int) -> None:
    print(f"µs of CPU added on the caller's thread, and in all threads; median and its 95 % interval, {rounds} rounds")
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=20_000))
    home = tempfile.mkdtemp()

    def on() -> None:
        otel_perfopt.instrument(home=home, tracer_provider=made, discover_tools=False)

    try:
        show("a LangChain tool, 20 rows", paired(framework_tool(), CALLS, on, otel_perfopt.uninstrument, made, rounds))
    except ImportError as error:
        print(f"  a LangChain tool: skipped: {error}")
    undo: list[Callable[[], object]] = []

    def watch() -> None:
        undo.append(watch_loads(ModuleLoads()))

    def unwatch() -> None:
        undo.pop()()

    show("an import, of an empty module", paired(imports(), MODULES, watch, unwatch, made, rounds))


def framework_tool() -> Callable[[int], None]:
    from langchain_core.tools import tool  # noqa: PLC0415 - only where it is installed

    @tool
    def look_up(order_id: str) -> Any:  # noqa: ARG001 - a tool that costs nothing
        """Look an order up."""
        return next_result()

    def loop(count: int) -> None:
        for _ in range(count):
            look_up.invoke({"order_id": "A-1"})

    return loop


def imports() -> Callable[[int], None]:
    """Return what imports many modules that hold nothing, anew each time."""
    folder = Path(tempfile.mkdtemp())
    names = [f"empty_{n}" for n in range(MODULES)]
    for name in names:
        (folder / f"{name}.py").write_text("")
    sys.path.insert(0, str(folder))

    def loop(count: int) -> None:
        for name in names[:count]:
            sys.modules.pop(name, None)
            importlib.import_module(name)

    return loop


def paired(
    loop: Callable[[int], None],
    count: int,
    on: Callable[[], object],
    off: Callable[[], object],
    provider: TracerProvider,
    rounds: int,
) -> list[tuple[float, float, float]]:
    """Return what a call takes plain, and what is added to it on its thread and in all."""
    found = []
    chance = random.Random(1)
    for round_ in range(-2, rounds):
        taken_ns = {}
        for watched in chance.sample((False, True), 2):
            if watched:
                on()
            loop(min(count, 2))
            provider.force_flush()
            cpu, began = time.process_time_ns(), time.thread_time_ns()
            loop(count)
            own = time.thread_time_ns() - began
            provider.force_flush()
            taken_ns[watched] = own, time.process_time_ns() - cpu
            if watched:
                off()
        if round_ >= 0:
            plain, under = taken_ns[False], taken_ns[True]
            found.append((plain[0], under[0] - plain[0], under[1] - plain[1]))
    return [tuple(ns / count / 1000 for ns in one) for one in found]  # type: ignore[misc]  # three of them


def show(name: str, found: list[tuple[float, float, float]]) -> None:
    plain, own, every = (interval([one[at] for one in found]) for at in range(3))
    print(
        f"  {name:<30} plain {plain[0]:7.1f}   adds {own[0]:.1f} [{own[1]:.1f}, {own[2]:.1f}]"
        f"   all {every[0]:.1f} [{every[1]:.1f}, {every[2]:.1f}]"
    )
