"""Spans of any instrumentation as they end in, live metrics and what a run wasted out; on the finishing thread only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from opentelemetry.sdk.metrics.export import Metric
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Span

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import TokenUsage
from otel_perfopt.measure.meter_process import CollectorPauses, resident_bytes
from otel_perfopt.measure.meter_run import MeterStep, RunTable, RunTotals
from otel_perfopt.measure.meter_series import Labels, MeterSeries, MeterState, Name, label
from otel_perfopt.measure.meter_span import error_type, plain_attributes, step_attributes
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.signal.emit.faults import faults

_TOKENS: Final = (
    ("input", c.GEN_AI_USAGE_INPUT_TOKENS),
    ("output", c.GEN_AI_USAGE_OUTPUT_TOKENS),
    ("cache_read", c.GEN_AI_USAGE_CACHE_READ_TOKENS),
    ("cache_write", c.GEN_AI_USAGE_CACHE_WRITE_TOKENS),
    ("reasoning", c.GEN_AI_USAGE_REASONING_TOKENS),
    ("resent", c.CONTEXT_RESENT_TOKENS),
)
_ERROR_KINDS: Final = frozenset((c.STEP_COMMAND, c.STEP_TOOL, c.STEP_INFERENCE))


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
        self._count: Mapping[object, Callable[[_Ended], None]] = {
            c.STEP_COMMAND: self._command,
            c.STEP_INFERENCE: self._inference,
            c.STEP_TOOL: self._tool,
            c.STEP_THINKING: self._thinking,
            "module": self._module,
        }
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew: what the parent counted is the parent's to publish."""
        self._lock = threading.Lock()
        self._series = MeterSeries()
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
        """Give a command's span what its run wasted, before it ends."""
        plain = plain_attributes(span)  # type: ignore[arg-type]  # the SDK's span, or one without attributes
        if plain.get(c.STEP_KIND) != c.STEP_COMMAND:
            return
        run = self._runs.known(span.get_span_context().span_id)
        if run is not None:
            span.set_attributes(run.attributes())

    def ended(self, span: ReadableSpan, run_span_id: int) -> None:
        """Count a span."""
        attributes = step_attributes(span)
        if attributes is not None:
            kind = attributes.get(c.STEP_KIND) or ("module" if c.MODULE_NAME in attributes else "")
            count = self._count.get(kind)
            if count is not None:
                with self._lock:
                    count(_Ended(span, attributes, run_span_id))
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

    def _command(self, ended: _Ended) -> None:
        span, series = ended.span, self._series
        labels = (
            (c.COMMAND_NAME, label(ended.attributes.get(c.COMMAND_NAME, span.name))),
            (c.COMMAND_OUTCOME, label(ended.attributes.get(c.COMMAND_OUTCOME, "unknown"))),
        )
        series.record(c.METRIC_COMMAND_DURATION, labels, ended.seconds, ended.sampled)
        command = labels[:1]
        resident = resident_bytes()
        if resident is not None:
            series.record(c.METRIC_MEMORY, command, resident)
        series.record(c.METRIC_GC_PAUSE, command, self._pauses.seconds_in(span.start_time or 0, span.end_time or 0))
        self._error(ended, c.STEP_COMMAND, ended.seconds, None)
        self._evaluations(span)
        run = self._runs.forget(span.context.span_id)
        if run is not None:
            self._run(run, command, ended)

    def _run(self, run: RunTotals, command: Labels, ended: _Ended) -> None:
        series = self._series
        share, overlap = run.resent_share(), run.parallelism()
        if share is not None:
            series.record(c.METRIC_RESENT_SHARE, command, share, ended.sampled)
        if overlap is not None:
            series.record(c.METRIC_PARALLELISM_REACHED, command, overlap[0])
            series.record(c.METRIC_PARALLELISM_POSSIBLE, command, overlap[1], ended.sampled)
        series.record(c.METRIC_WASTED_TOOL_TIME, command, run.wasted_s, ended.sampled)
        if run.cost_usd:
            series.record(c.METRIC_COMMAND_COST, command, run.cost_usd, ended.sampled)

    def _inference(self, ended: _Ended) -> None:
        attributes, series = ended.attributes, self._series
        model = label(
            attributes.get(c.GEN_AI_RESPONSE_MODEL) or attributes.get(c.GEN_AI_REQUEST_MODEL) or ended.span.name
        )
        labels = ((c.GEN_AI_REQUEST_MODEL, model),)
        series.record(c.METRIC_INFERENCE_DURATION, labels, ended.seconds, ended.sampled)
        first = _number(attributes, c.TIME_TO_FIRST_TOKEN)
        if first is not None:
            series.record(c.METRIC_FIRST_TOKEN, labels, first, ended.sampled)
        tokens = {kind: _number(attributes, name) for kind, name in _TOKENS}
        for kind, number in tokens.items():
            if number:
                series.add(c.METRIC_TOKENS, ((c.TOKEN_TYPE, kind), *labels), number)
        self._context(attributes, model, labels, tokens["input"])
        cost = self._cost(attributes, model, tokens)
        if cost:
            series.add(c.METRIC_COST, labels, cost)
        run = self._run_of(ended)
        if run is not None:
            run.add(MeterStep(ended.span.start_time or 0, ended.span.end_time or 0, c.STEP_INFERENCE, model))
            run.cost_usd += cost or 0.0
            if tokens["resent"] is not None:
                run.input_tokens += int(tokens["input"] or 0)
                run.resent_tokens += int(tokens["resent"])
        self._error(ended, c.STEP_INFERENCE, ended.seconds, cost)

    def _context(self, attributes: Mapping[str, Any], model: str, labels: Labels, tokens: float | None) -> None:
        if tokens is None:
            return
        self._series.record(c.METRIC_CONTEXT_TOKENS, labels, tokens)
        window = _number(attributes, c.CONTEXT_WINDOW_TOKENS) or next(
            (size for pattern, size in self._windows if fnmatchcase(model, pattern)), None
        )
        if window:
            self._series.record(c.METRIC_CONTEXT_USE, labels, tokens / window)

    def _cost(self, attributes: Mapping[str, Any], model: str, tokens: Mapping[str, float | None]) -> float | None:
        stated = _number(attributes, c.COST_USD)
        if stated is not None or self._prices is None:
            return stated
        counts = {kind: None if number is None else int(number) for kind, number in tokens.items()}
        return self._prices.cost_usd(model, TokenUsage(**counts))

    def _tool(self, ended: _Ended) -> None:
        attributes, span = ended.attributes, ended.span
        tool = label(attributes.get(c.GEN_AI_TOOL_NAME) or span.name)
        labels = ((c.GEN_AI_TOOL_NAME, tool),)
        self._series.record(c.METRIC_TOOL_DURATION, labels, ended.seconds, ended.sampled)
        self._error(ended, c.STEP_TOOL, ended.seconds, None)
        run = self._run_of(ended)
        if run is None:
            return
        asked = str(attributes.get(c.REQUESTED_BY, ""))
        effects = str(attributes.get(c.TOOL_EFFECTS, ""))
        step = MeterStep(span.start_time or 0, span.end_time or 0, c.STEP_TOOL, tool, effects, asked)
        run.add(step)
        arguments, result = attributes.get(c.ARGUMENTS_DIGEST), attributes.get(c.RESULT_DIGEST)
        if arguments and result:
            run.answered(step, str(arguments), str(result))

    def _thinking(self, ended: _Ended) -> None:
        self._series.record(c.METRIC_THINKING_DURATION, (), ended.seconds, ended.sampled)

    def _module(self, ended: _Ended) -> None:
        labels = ((c.MODULE_NAME, label(ended.attributes.get(c.MODULE_NAME, ended.span.name))),)
        self._series.record(c.METRIC_MODULE_DURATION, labels, ended.seconds, ended.sampled)

    def _error(self, ended: _Ended, kind: str, seconds: float, cost: float | None) -> None:
        error = error_type(ended.span, ended.attributes)
        if not error:
            return
        labels = ((c.STEP_KIND, kind), (c.ERROR_TYPE, label(error)))
        self._series.add(c.METRIC_ERRORS, labels, 1)
        self._series.add(c.METRIC_ERROR_TIME, labels, seconds)
        if cost:
            self._series.add(c.METRIC_ERROR_COST, labels, cost)

    def _evaluations(self, span: ReadableSpan) -> None:
        for event in getattr(span, "_events", ()) or ():
            if event.name == c.GEN_AI_EVALUATION_RESULT_EVENT and event.attributes:
                score = _number(event.attributes, c.GEN_AI_EVALUATION_SCORE_VALUE)
                if score is not None:
                    named = label(event.attributes.get(c.GEN_AI_EVALUATION_NAME, ""))
                    self._series.record(c.METRIC_SATISFACTION, ((c.GEN_AI_EVALUATION_NAME, named),), score)

    def _run_of(self, ended: _Ended) -> RunTotals | None:
        """Return the run the step belongs to: the one it ended in, else the one of the command it hangs under."""
        parent = ended.span.parent
        identity = ended.run_span_id or (parent.span_id if parent is not None else 0)
        return self._runs.of(identity) if identity else None


class _Ended:
    """One span that has ended, with its attributes under our names."""

    __slots__ = ("attributes", "run_span_id", "sampled", "seconds", "span")

    def __init__(self, span: ReadableSpan, attributes: Mapping[str, Any], run_span_id: int) -> None:
        self.span = span
        self.attributes = attributes
        self.run_span_id = run_span_id
        end_ns = span.end_time or 0
        self.seconds = max(0, end_ns - (span.start_time or 0)) / 1e9
        # What leads to the trace, if it is kept.
        context = span.context
        self.sampled = (end_ns, context) if context.trace_flags.sampled else None


def _number(attributes: Mapping[str, Any], name: str) -> float | None:
    value = attributes.get(name)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
