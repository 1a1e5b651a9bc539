"""How long calls of a kind take for what they write: durations with output tokens in, expected durations out."""

from __future__ import annotations

from collections import deque

from otel_perfopt.execution.model import Step

MIN_CALLS = 20
LATELY = 100


class CallSpeed:
    """A line through duration over output tokens, and by which factor the latest calls differed from it.

    A long answer takes long wherever it is made: only the factor is the server's, and only it would be
    drawn anew by another try.
    """

    __slots__ = ("_duration", "_output", "_products", "_squares", "count", "factors")

    def __init__(self) -> None:
        self.count = 0
        self._output = self._duration = self._squares = self._products = 0.0
        self.factors: deque[float] = deque(maxlen=LATELY)

    def observe(self, step: Step) -> None:
        """Take a call that succeeded into account."""
        duration, output = step.duration_s, float(step.tokens.output or 0)
        expected = self.expected_s(step)
        if expected is not None:
            self.factors.append(duration / expected)
        self.count += 1
        self._output += output
        self._duration += duration
        self._squares += output * output
        self._products += output * duration

    def expected_s(self, step: Step) -> float | None:
        """Return how long a call that writes as much takes on average; None before twenty calls are known."""
        if self.count < MIN_CALLS or self._duration <= 0:
            return None
        mean_output, mean = self._output / self.count, self._duration / self.count
        spread = self._squares / self.count - mean_output**2
        slope = (self._products / self.count - mean_output * mean) / spread if spread > 1e-9 else 0.0
        # More output never takes less, and no output not less than nothing.
        slope = min(max(0.0, slope), mean / mean_output if mean_output else 0.0)
        return max(0.05 * mean, mean + slope * ((step.tokens.output or 0) - mean_output))
