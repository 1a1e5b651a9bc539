"""Spans of any instrumentation as they end in, live metrics and what a run wasted out; on the finishing thread only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import Metric
from opentelemetry.trace import Span, TraceFlags

from otel_perfopt import conventions as c
from otel_perfopt.measure.meter_histogram import Sampled
from otel_perfopt.measure.meter_model import ModelTable
from otel_perfopt.measure.meter_process import CollectorPauses, resident_bytes
from otel_perfopt.measure.meter_run import MeterStep, RunTable, RunTotals
from otel_perfopt.measure.meter_series import Labels, MeterSeries, MeterState, Name, label
from otel_perfopt.measure.meter_span import MODULE, error_type, step_of
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.signal.emit.ended_span import EndedSpan, own_attributes
from otel_perfopt.signal.emit.faults import faults

# What counts a step of its kind: span, attributes under our names, seconds, what leads to the trace.
_Count = Callable[[EndedSpan, Mapping[str, Any], float, "Sampled | None"], None]


class LiveMeter:
    """The observer of a `Finisher`; `metrics()` may be asked for from any thread.

    `prices` gives costs in USD where a span states none; `windows` the size of a model's context
    (`glob`, tokens), where a span does not say it.
    """

    def __init__(
        self,
        prices: PriceTable | None = None,
        windows: Sequence[tuple[str, int]] = (),
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._prices = prices
        self._windows = windows
        self._clock_ns = clock_ns
        self._pauses = CollectorPauses()
        self._totals: list[tuple[Name, Callable[[], float]]] = []
        self._count: Mapping[str, _Count] = {
            c.STEP_COMMAND: self._command,
            c.STEP_INFERENCE: self._inference,
            c.STEP_TOOL: self._tool,
            c.STEP_THINKING: self._thinking,
            MODULE: self._module,
            c.STEP_MODULE_LOAD: self._module,
        }
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew: what the parent counted is the parent's to publish."""
        self._lock = threading.Lock()
        self._series = MeterSeries()
        self._models = ModelTable(self._series, self._prices, self._windows)
        self._runs = RunTable()
        self.start_ns = self._clock_ns()

    def start(self) -> None:
        """Listen to the garbage collector."""
        self._pauses.start()

    def stop(self) -> None:
        """Stop listening."""
        self._pauses.stop()

    def also_count(self, name: Name, total: Callable[[], float]) -> None:
        """Publish a sum that is counted elsewhere."""
        self._totals.append((name, total))

    def ending(self, span: Span, end_ns: int) -> None:  # noqa: ARG002 - the observer's signature
        """Give a command's span what its run wasted and its process holds, before it ends."""
        if own_attributes(span).get(c.STEP_KIND) != c.STEP_COMMAND:
            return
        run = self._runs.known(span.get_span_context().span_id)
        if run is not None:
            span.set_attributes(run.attributes())
        resident = resident_bytes()
        if resident is not None:
            span.set_attribute(c.COMMAND_MEMORY, resident)

    def ended(self, span: EndedSpan) -> None:
        """Count a span."""
        kind, attributes = step_of(span)
        count = self._count.get(kind)
        if count is not None:
            seconds = max(0, span.end_ns - span.start_ns) / 1e9
            context = span.context
            # What leads to the trace, if it is kept.
            sampled = (span.end_ns, context) if context.trace_flags & TraceFlags.SAMPLED else None
            with self._lock:
                count(span, attributes, seconds, sampled)
        elif span.name == c.GEN_AI_EVALUATION_RESULT_EVENT:
            with self._lock:
                self._evaluations(span)

    def metrics(self, previous: MeterState | None = None) -> list[Metric]:
        """Return everything counted since the start, or since `previous`, which is brought up to date."""
        now_ns = self._clock_ns()
        with self._lock:
            series = self._series
            for kind, number in faults.copy().items():
                series.set_total(c.METRIC_FAULTS, ((c.FAULT_KIND, label(kind)),), number)
            for name, total in self._totals:
                series.set_total(name, (), total())
            found = series.metrics(self.start_ns if previous is None else previous.time_ns, now_ns, previous)
        if previous is not None:
            previous.time_ns = now_ns
        return found

    def _command(self, span: EndedSpan, attributes: Mapping[str, Any], seconds: float, sampled: Sampled | None) -> None:
        series = self._series
        labels = (
            (c.COMMAND_NAME, label(attributes.get(c.COMMAND_NAME, span.name))),
            (c.COMMAND_OUTCOME, label(attributes.get(c.COMMAND_OUTCOME, "unknown"))),
        )
        series.record(c.METRIC_COMMAND_DURATION, labels, seconds, sampled)
        command = labels[:1]
        resident = resident_bytes()
        if resident is not None:
            series.record(c.METRIC_MEMORY, command, resident)
        series.record(c.METRIC_GC_PAUSE, command, self._pauses.seconds_in(span.start_ns, span.end_ns))
        self._error(span, attributes, c.STEP_COMMAND, seconds)
        self._evaluations(span)
        run = self._runs.forget(span.context.span_id)
        if run is not None:
            self._run(run, command, sampled)

    def _run(self, run: RunTotals, command: Labels, sampled: Sampled | None) -> None:
        series = self._series
        share, overlap = run.resent_share(), run.parallelism()
        if share is not None:
            series.record(c.METRIC_RESENT_SHARE, command, share, sampled)
        if overlap is not None:
            series.record(c.METRIC_PARALLELISM_REACHED, command, overlap[0])
            series.record(c.METRIC_PARALLELISM_POSSIBLE, command, overlap[1], sampled)
        series.record(c.METRIC_WASTED_TOOL_TIME, command, run.wasted_s, sampled)
        if run.cost_usd:
            series.record(c.METRIC_COMMAND_COST, command, run.cost_usd, sampled)

    def _inference(
        self, span: EndedSpan, attributes: Mapping[str, Any], seconds: float, sampled: Sampled | None
    ) -> None:
        get = attributes.get
        model = self._models.of(label(get(c.GEN_AI_RESPONSE_MODEL) or get(c.GEN_AI_REQUEST_MODEL) or span.name))
        cost, tokens = model.count(attributes, seconds, sampled)
        run = self._run_of(span)
        if run is not None:
            run.add(MeterStep(span.start_ns, span.end_ns, c.STEP_INFERENCE, model.name))
            run.sent(cost, tokens, get(c.CONTEXT_RESENT_TOKENS))
        self._error(span, attributes, c.STEP_INFERENCE, seconds, cost)

    def _tool(self, span: EndedSpan, attributes: Mapping[str, Any], seconds: float, sampled: Sampled | None) -> None:
        get = attributes.get
        tool = label(get(c.GEN_AI_TOOL_NAME) or span.name)
        self._series.record(c.METRIC_TOOL_DURATION, ((c.GEN_AI_TOOL_NAME, tool),), seconds, sampled)
        self._error(span, attributes, c.STEP_TOOL, seconds)
        run = self._run_of(span)
        if run is None:
            return
        effects, asked = str(get(c.TOOL_EFFECTS, "")), str(get(c.REQUESTED_BY, ""))
        step = MeterStep(span.start_ns, span.end_ns, c.STEP_TOOL, tool, effects, asked)
        run.add(step)
        arguments, result = get(c.ARGUMENTS_DIGEST), get(c.RESULT_DIGEST)
        if arguments and result:
            run.answered(step, str(arguments), str(result))

    def _thinking(
        self, _span: EndedSpan, _attributes: Mapping[str, Any], seconds: float, sampled: Sampled | None
    ) -> None:
        self._series.record(c.METRIC_THINKING_DURATION, (), seconds, sampled)

    def _module(self, span: EndedSpan, attributes: Mapping[str, Any], seconds: float, sampled: Sampled | None) -> None:
        labels = ((c.MODULE_NAME, label(attributes.get(c.MODULE_NAME, span.name))),)
        self._series.record(c.METRIC_MODULE_DURATION, labels, seconds, sampled)

    def _error(
        self, span: EndedSpan, attributes: Mapping[str, Any], kind: str, seconds: float, cost: float | None = None
    ) -> None:
        error = error_type(span, attributes)
        if not error:
            return
        labels = ((c.STEP_KIND, kind), (c.ERROR_TYPE, label(error)))
        self._series.add(c.METRIC_ERRORS, labels, 1)
        self._series.add(c.METRIC_ERROR_TIME, labels, seconds)
        if cost:
            self._series.add(c.METRIC_ERROR_COST, labels, cost)

    def _evaluations(self, span: EndedSpan) -> None:
        for event in span.events:
            if event.name == c.GEN_AI_EVALUATION_RESULT_EVENT and event.attributes:
                score = event.attributes.get(c.GEN_AI_EVALUATION_SCORE_VALUE)
                if isinstance(score, (int, float)) and not isinstance(score, bool):
                    named = label(event.attributes.get(c.GEN_AI_EVALUATION_NAME, ""))
                    self._series.record(c.METRIC_SATISFACTION, ((c.GEN_AI_EVALUATION_NAME, named),), score)

    def _run_of(self, span: EndedSpan) -> RunTotals | None:
        """Return the run the step belongs to: the one it ended in, else the one of the command it hangs under."""
        context = span.parent if span.run is None else span.run.span.get_span_context()
        return self._runs.of(context.span_id) if context is not None and context.span_id else None
