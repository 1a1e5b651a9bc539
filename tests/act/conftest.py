"""A runtime over a fixed snapshot, with the seam's real types and real SDK spans."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

sys.path.insert(0, str(Path(__file__).parent))

from governed import Agent, snapshot

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.decide.decision import Decision
from otel_perfopt.signal.calls import RunContext, ToolCall


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def new_run(exporter: InMemorySpanExporter) -> Iterator[Callable[..., RunContext]]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    def make(command: str = "/query", conversation: str = "c1", user: str = "") -> RunContext:
        return RunContext(command, conversation, user, tracer.start_span(command))

    yield make
    provider.shutdown()


@pytest.fixture
def new_runtime() -> Iterator[Callable[..., Runtime]]:
    runtimes: list[Runtime] = []

    def make(*decisions: Decision, spans: CallSpans | None = None) -> Runtime:
        source = FixedSource(snapshot(*decisions)) if decisions else FixedSource()
        runtimes.append(Runtime(source, spans=spans or CallSpans()))
        return runtimes[-1]

    yield make
    for runtime in runtimes:
        runtime.close()


@pytest.fixture
def new_agent(new_run: Callable[..., RunContext], new_runtime: Callable[..., Runtime]) -> Callable[..., Agent]:
    def make(*decisions: Decision, runtime: Runtime | None = None, **run: Any) -> Agent:
        hits: list[ToolCall] = []
        spans = CallSpans(record_hit=lambda call, result: hits.append(call))
        return Agent(runtime or new_runtime(*decisions, spans=spans), new_run(**run), hits)

    return make
