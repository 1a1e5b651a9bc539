"""As many calls at once as the provider bears: a call of a model in, the same call in its turn out."""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.call_queue import CallQueue
from otel_perfopt.act.capacity_gauges import CapacityGauges, LineReading, PeakDemand
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.concurrency_limit import AimdLimit, LimitBounds
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.overload import is_overload, pause_s
from otel_perfopt.act.parameters.adaptive_concurrency import AdaptiveConcurrencyParameters
from otel_perfopt.act.run_tally import count
from otel_perfopt.signal.calls import InferenceCall, InferenceOutcome

NAME: Final = "adaptive_concurrency"
MAX_LINES = 64


class Line:
    """The calls of one model under one policy: their limit, their queue, and until when nobody may go."""

    def __init__(self, parameters: AdaptiveConcurrencyParameters, clock: Clock) -> None:
        bounds = LimitBounds(
            parameters.initial, parameters.min_concurrency, parameters.max_concurrency, parameters.backoff
        )
        self.limit = AimdLimit(bounds)
        self.queue = CallQueue(self._open, clock)
        self._clock = clock
        self._paused_until_ns = 0
        self._peak = PeakDemand()

    @property
    def demand(self) -> int:
        """How many calls are under way or wait now."""
        return self.queue.in_flight + self.queue.waiting

    def asked(self) -> None:
        """One more call is there, before it waits or goes."""
        self._peak.saw(self.demand + 1, self._clock.monotonic_ns())

    def reading(self, model: str) -> LineReading:
        """Return what the gauges tell of this line."""
        wanted = self._peak.value(self.demand, self._clock.monotonic_ns())
        return LineReading(model, self.limit.limit, self.queue.waiting, wanted)

    def ended(self, error: BaseException | None, began_ns: int) -> None:
        """A call is over: the limit learns from it, and the next has its turn."""
        now_ns = self._clock.monotonic_ns()
        if is_overload(error):
            self.limit.overloaded(began_ns, now_ns)
            self._paused_until_ns = max(self._paused_until_ns, now_ns + int(pause_s(error) * 1e9))
        elif error is None:
            self.limit.succeeded(self.queue.in_flight)
        self.queue.leave()

    def _open(self) -> int:
        # A refusal that says when to come back closes the line; one call at a time finds out whether it is over.
        return self.limit.limit if self._clock.monotonic_ns() >= self._paused_until_ns else 1


class AdaptiveConcurrency:
    """Holds calls back while as many are under way as the provider has shown it bears.

    Refusals for overload lower what that is, calls that go well raise it. Commands of a higher class go
    first, and whoever waits long enough overtakes them. In shadow nobody waits, and the limit is learned.
    """

    name = NAME

    def __init__(self, clock: Clock = SYSTEM_CLOCK, gauges: CapacityGauges | None = None) -> None:
        self._clock = clock
        self._gauges = gauges or CapacityGauges()
        self._lines: dict[tuple[str, str, str, str], Line] = {}
        self._lock = threading.Lock()

    def around(self, use: Use, call: InferenceCall, proceed: Proceed) -> Any:
        """Make the call in its turn."""
        parameters = _parameters(use)
        line = self.line(use, call)
        line.asked()
        waited_s = line.queue.enter(priority_of(parameters, call.run.command), _wait_s(use, parameters))
        turn = _Turn(line, self._clock.monotonic_ns())
        turn.describe(use, call, waited_s)
        try:
            result = proceed(call)
        except BaseException as error:
            turn.over(error)
            raise
        turn.over_with(call, result)
        return result

    async def around_async(self, use: Use, call: InferenceCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        parameters = _parameters(use)
        line = self.line(use, call)
        line.asked()
        waited_s = await line.queue.enter_async(priority_of(parameters, call.run.command), _wait_s(use, parameters))
        turn = _Turn(line, self._clock.monotonic_ns())
        turn.describe(use, call, waited_s)
        try:
            result = await proceed(call)
        except BaseException as error:
            turn.over(error)
            raise
        turn.over_with(call, result)
        return result

    def line(self, use: Use, call: InferenceCall) -> Line:
        """Return the line that calls of this model wait in; beyond 64, new models share the last."""
        key = use.policy, use.rule.decision.digest, call.api, str(call.kwargs.get("model", call.model))
        line = self._lines.get(key)
        if line is None:
            with self._lock:
                if len(self._lines) >= MAX_LINES:
                    key = (*key[:3], conventions.METRIC_OVERFLOW)
                line = self._lines.setdefault(key, Line(_parameters(use), self._clock))
            self._gauges.follow(self.readings)
        return line

    def readings(self) -> list[LineReading]:
        """Return what each line is like now, by model."""
        return [line.reading(key[-1]) for key, line in list(self._lines.items())]

    def demand(self) -> int:
        """Return how many calls are under way or wait now: what capacity would serve all of them at once."""
        return sum(line.demand for line in list(self._lines.values()))

    def close(self) -> None:
        """The gauges tell nothing any more."""
        self._gauges.close()

    def after_fork(self) -> None:
        """Nobody of the parent's waits here; what was learned about limits is learned anew."""
        self._lock = threading.Lock()
        self._lines = {}
        self._gauges.after_fork()


class _Turn:
    """One call's turn; it ends once: when the call fails, or when its reply has been read."""

    __slots__ = ("_began_ns", "_done", "_line")

    def __init__(self, line: Line, began_ns: int) -> None:
        self._line = line
        self._began_ns = began_ns
        self._done = False

    def describe(self, use: Use, call: InferenceCall, waited_s: float) -> None:
        """Say on the call's span how long it waited and how many there were."""
        call.span_attributes[conventions.QUEUE_TIME] = waited_s
        call.span_attributes[conventions.CONCURRENCY_LIMIT] = self._line.limit.limit
        call.span_attributes[conventions.CONCURRENCY_IN_FLIGHT] = self._line.queue.in_flight
        call.span_attributes[conventions.CONCURRENCY_WAITING] = self._line.queue.waiting
        if waited_s > 0:
            count(call.run, use.policy, conventions.POLICY_WAITED_NS, int(waited_s * 1e9))

    def over_with(self, call: InferenceCall, result: object) -> None:
        """End now for a whole reply, and for a stream when it has been read."""
        if call.is_reply(result):
            self.over(None)
        else:
            call.on_end.append(self._ended)

    def over(self, error: BaseException | None) -> None:
        """End the turn."""
        if not self._done:
            self._done = True
            self._line.ended(error, self._began_ns)

    def _ended(self, outcome: InferenceOutcome) -> None:
        self.over(outcome.error)


def priority_of(parameters: AdaptiveConcurrencyParameters, command: str) -> str:
    """Return a command's class: that of the longest glob that fits, else normal."""
    return next((word for glob, word in parameters.priorities if fnmatchcase(command, glob)), "normal")


def _wait_s(use: Use, parameters: AdaptiveConcurrencyParameters) -> float:
    return 0.0 if use.shadow else parameters.max_wait_s


def _parameters(use: Use) -> AdaptiveConcurrencyParameters:
    parameters = use.rule.parameters
    assert isinstance(parameters, AdaptiveConcurrencyParameters)
    return parameters
