"""Runs and series with a planted truth: what is to be found is known, because it was put there."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import (
    Execution,
    Outcome,
    Step,
    StepKind,
    Target,
    TokenUsage,
    ToolEffects,
)
from otel_perfopt.measure.measurement import Series
from otel_perfopt.signal.source import ReadTally

MONDAY_NS = 1_788_739_200_000_000_000  # 2026-09-07 00:00 UTC
SECOND = 1_000_000_000


@dataclass
class PlantedSource:
    """An `ExecutionSource` over runs held in memory."""

    runs: list[Execution]
    tally: ReadTally = field(default_factory=ReadTally)

    def executions(self):
        yield from self.runs


class RunWriter:
    """Writes one run as it would have happened: every call moves the clock on."""

    _ids = itertools.count(1)

    def __init__(self, command="/task", conversation="", start_ns=MONDAY_NS, model="m-large", timed=True):
        number = next(self._ids)
        self.trace_id = f"{number:032x}"
        self.command, self.model, self.timed = command, model, timed
        self.conversation = conversation or self.trace_id
        self.start_ns = self.now_ns = start_ns
        self.steps: list[Step] = []
        self.last_reply = ""
        self.outcome = Outcome.COMPLETED

    def _id(self):
        return f"{next(self._ids):016x}"

    def _step(self, kind, name, seconds, *, start_ns=None, **fields):
        start = self.now_ns if start_ns is None else start_ns
        target = Target(
            service="planted",
            command=self.command,
            tool=name if kind in (StepKind.TOOL, StepKind.RETRIEVAL) else "",
            model=self.model if kind is StepKind.INFERENCE else "",
        )
        step = Step(
            trace_id=self.trace_id,
            span_id=self._id(),
            parent_span_id="c" * 16,
            kind=kind,
            name=name,
            target=target,
            start_ns=start,
            end_ns=start + round(seconds * SECOND),
            **fields,
        )
        self.steps.append(step)
        return step

    def think(self, seconds, **fields):
        step = self._step(StepKind.THINKING, "thinking", seconds, **fields)
        self.now_ns = max(self.now_ns, step.end_ns)
        return step

    def infer(self, seconds=1.0, *, sent=None, out=None, read=None, write=None, reasoning=None, window=None, **fields):
        tokens = TokenUsage(input=sent, output=out, cache_read=read, cache_write=write, reasoning=reasoning)
        attributes = {c.CONTEXT_WINDOW_TOKENS: window} if window else {}
        step = self._step(StepKind.INFERENCE, self.model, seconds, tokens=tokens, attributes=attributes, **fields)
        self.now_ns = max(self.now_ns, step.end_ns)
        self.last_reply = step.span_id
        return step

    def tool(
        self,
        name,
        seconds=1.0,
        *,
        arguments=None,
        effects=ToolEffects.READ,
        after_ns=None,
        needs=(),
        gives=None,
        **fields,
    ):
        """One call; `needs` and `gives` are the values it takes and returns, `after_ns` starts it at that moment."""
        arguments = self._id() if arguments is None else arguments
        gives = (self._id(),) if gives is None else gives
        step = self._step(
            StepKind.TOOL,
            name,
            seconds,
            start_ns=after_ns,
            effects=effects,
            requested_by=fields.pop("requested_by", self.last_reply),
            arguments_digest=arguments,
            result_digest=fields.pop("result", f"result of {arguments}"),
            inputs=frozenset(needs),
            outputs=frozenset(gives),
            **fields,
        )
        self.now_ns = max(self.now_ns, step.end_ns)
        return step

    def done(self):
        """Return the run."""
        command = Step(
            trace_id=self.trace_id,
            span_id="c" * 16,
            parent_span_id="",
            kind=StepKind.COMMAND,
            name=self.command,
            target=Target(service="planted", command=self.command),
            start_ns=self.start_ns,
            end_ns=self.now_ns,
        )
        return Execution(
            command=command,
            steps=tuple(sorted(self.steps, key=lambda step: step.start_ns)),
            conversation_id=self.conversation,
            outcome=self.outcome,
            timed=self.timed,
            location=f"planted.jsonl:{int(self.trace_id, 16)}",
        )


def clean_run(rng, *, conversation="", start_ns=MONDAY_NS, replies=4, command="/task"):
    """A run with nothing to find: different calls that each need the one before, errors none, contexts small."""
    writer = RunWriter(command, conversation, start_ns)
    value = writer._id()
    tools = ("look_up", "measure", "compute", "render", "check")
    for reply in range(replies):
        writer.infer(rng.lognormal(0.0, 0.2), sent=800 + 150 * reply, out=60, read=700 + 150 * reply if reply else 0)
        given = writer._id()
        writer.tool(tools[int(rng.integers(len(tools)))], rng.lognormal(-0.7, 0.2), needs=(value,), gives=(given,))
        value = given
    writer.infer(rng.lognormal(0.0, 0.2), sent=800 + 150 * replies, out=80, read=700 + 150 * replies)
    return writer.done()


def clean_runs(rng, count=40):
    """Runs of as many conversations, an hour apart, with nothing planted."""
    return [clean_run(rng, start_ns=MONDAY_NS + place * 3600 * SECOND) for place in range(count)]


def hourly(values, start_ns=MONDAY_NS, metric="latency"):
    """A series of one value an hour; NaN marks a gap."""
    return Series(metric, Target(), start_ns, 3600.0, tuple(None if np.isnan(v) else float(v) for v in values))


def correlated_noise(rng, count, rho):
    """Noise of unit variance whose neighbours correlate by `rho`."""
    white = rng.normal(size=count + 200) * np.sqrt(1 - rho**2)
    values = np.zeros(count + 200)
    for place in range(1, count + 200):
        values[place] = rho * values[place - 1] + white[place]
    return values[200:]
