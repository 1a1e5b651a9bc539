"""Short ways to write spans and runs in tests."""

from __future__ import annotations

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Execution, Step, StepKind, Target, ToolEffects
from otel_perfopt.signal.record import SpanRecord

TRACE = "0" * 31 + "1"


def span(span_id, start, end, parent="", *, kind=None, trace_id=TRACE, name="span", **fields):
    attributes = dict(fields.pop("attributes", {}))
    if kind is not None:
        attributes[c.STEP_KIND] = kind
    return SpanRecord(trace_id, span_id, parent, name, start, end, attributes=attributes, **fields)


def step(span_id, start, end, parent="c", *, kind=StepKind.TOOL, name="look", **fields):
    return Step(
        trace_id=TRACE,
        span_id=span_id,
        parent_span_id=parent,
        kind=kind,
        name=name,
        target=fields.pop("target", Target(command="/do", tool=name if kind is StepKind.TOOL else "")),
        start_ns=start,
        end_ns=end,
        **fields,
    )


def read(span_id, start, end, **fields):
    return step(span_id, start, end, effects=ToolEffects.READ, **fields)


def write(span_id, start, end, **fields):
    return step(span_id, start, end, effects=ToolEffects.WRITE, **fields)


def inference(span_id, start, end, **fields):
    return step(span_id, start, end, kind=StepKind.INFERENCE, name=fields.pop("name", "model-a"), **fields)


def run(start, end, *steps, **fields):
    command = step("c", start, end, parent=fields.pop("parent", ""), kind=StepKind.COMMAND, name="/do")
    ordered = tuple(sorted(steps, key=lambda s: (s.start_ns, -s.end_ns, s.span_id)))
    return Execution(command=command, steps=ordered, conversation_id=fields.pop("conversation_id", TRACE), **fields)
