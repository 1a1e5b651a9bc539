"""How contexts grow and what is sent again: runs in, input tokens by call number and resent and cached shares out."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analysis import ContextPoint, ContextUse
from otel_perfopt.analyse.bounded_table import RecentStates
from otel_perfopt.execution.model import Execution, Step, StepKind
from otel_perfopt.measure.sketch import QuantileSketch
from otel_perfopt.measure.sql.context_use import FIRST, PEAK, ContextSum

MAX_CALL_NUMBER = 2000
SHOWN_CALLS = 40
MIN_CONVERSATIONS_SHOWN = 2


@dataclass(slots=True)
class _Conversation:
    calls: int = 0
    previous: int = 0
    peak: int = 0
    first: int = 0


class ContextGrowth:
    """Follows the input of every model call through its conversation.

    Where a source does not say what was resent, a call resends what the conversation's previous call
    sent, as far as it is that long: contexts grow at their end until they are cut.
    """

    def __init__(self) -> None:
        self._open: RecentStates[str, _Conversation] = RecentStates(_Conversation, self._close)
        self._by_call: dict[int, QuantileSketch] = {}
        self._first, self._peak = QuantileSketch(), QuantileSketch()
        self._input = self._resent = self._largest = 0
        self._known_input = self._cache_read = self._cache_write = 0
        self._cache_known = False
        self._window_share: float | None = None

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        conversation = self._open[execution.conversation_id]
        for step in execution.steps:
            if step.kind is StepKind.INFERENCE and step.tokens.input is not None:
                self._add(conversation, step, step.tokens.input)

    def _add(self, conversation: _Conversation, step: Step, sent: int) -> None:
        conversation.calls += 1
        conversation.first = conversation.first or sent
        conversation.peak = max(conversation.peak, sent)
        if conversation.calls <= MAX_CALL_NUMBER:
            self._by_call.setdefault(conversation.calls, QuantileSketch()).add(sent)
        self._input += sent
        resent = step.tokens.resent
        self._resent += min(sent, conversation.previous) if resent is None else min(sent, resent)
        conversation.previous = sent
        if step.tokens.cache_read is not None or step.tokens.cache_write is not None:
            self._cache_known = True
            self._known_input += sent
            self._cache_read += step.tokens.cache_read or 0
            self._cache_write += step.tokens.cache_write or 0
        window = step.attributes.get(c.CONTEXT_WINDOW_TOKENS)
        if isinstance(window, int | float) and window > 0:
            self._window_share = max(self._window_share or 0.0, sent / window)

    def add_sum(self, found: ContextSum) -> None:
        """Take model calls into account that a store has added up; empty first inputs are none."""
        if found.call in (FIRST, PEAK):
            sketch = self._first if found.call == FIRST else self._peak
        elif found.call <= MAX_CALL_NUMBER:
            sketch = self._by_call.setdefault(found.call, QuantileSketch())
        else:
            sketch = QuantileSketch()
        if found.bucket is None:
            sketch.zeros += found.count
        else:
            sketch.buckets[found.bucket] += found.count
        if found.call > 0:
            self._input += found.sent
            self._resent += found.resent
            self._largest = max(self._largest, found.largest)
            self._known_input += found.known
            self._cache_known = self._cache_known or found.known > 0
            self._cache_read += found.read
            self._cache_write += found.written

    def _close(self, _: str, conversation: _Conversation) -> None:
        if conversation.calls:
            self._first.add(conversation.first)
            self._peak.add(conversation.peak)
            self._largest = max(self._largest, conversation.peak)

    def result(self) -> ContextUse:
        """Close every conversation and return what they had in common."""
        self._open.close()
        if not self._input:
            return ContextUse()
        unique = self._input - self._resent
        cached = self._known_input if self._cache_known else 0
        return ContextUse(
            growth=self._growth(),
            first_p50=self._first.quantile(0.5),
            peak_p50=self._peak.quantile(0.5),
            peak_p95=self._peak.quantile(0.95),
            peak_max=float(self._largest),
            input_tokens=self._input,
            resent_tokens=self._resent,
            resent_share=self._resent / self._input,
            resend_factor=self._input / unique if unique > 0 else None,
            cache_read_share=self._cache_read / cached if cached else None,
            cache_write_share=self._cache_write / cached if cached else None,
            window_peak_share=self._window_share,
        )

    def _growth(self) -> tuple[ContextPoint, ...]:
        most = max((sketch.count for sketch in self._by_call.values()), default=0)
        least = min(MIN_CONVERSATIONS_SHOWN, most)
        shown = [call for call in sorted(self._by_call) if self._by_call[call].count >= least]
        return tuple(_point(call, self._by_call[call]) for call in _thinned(shown))


def _thinned(calls: list[int]) -> list[int]:
    # Every call at first, then ever wider steps: forty points draw the curve.
    if len(calls) <= SHOWN_CALLS:
        return calls
    ratio = (len(calls) - 1) / (SHOWN_CALLS - 1) ** 2
    places = sorted({round(ratio * place**2) if ratio > 1 / SHOWN_CALLS else place for place in range(SHOWN_CALLS)})
    return [calls[min(place, len(calls) - 1)] for place in places]


def _point(call: int, sketch: QuantileSketch) -> ContextPoint:
    low, middle, high = (sketch.quantile(q) or 0.0 for q in (0.1, 0.5, 0.9))
    return ContextPoint(call, sketch.count, low, middle, high)
