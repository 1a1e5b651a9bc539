"""The calls of the last minutes in; what a live condition measures of them out, with how many calls that rests on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import ceil

from otel_perfopt import conventions as c
from otel_perfopt.analyse.rate_limited import is_rate_limited
from otel_perfopt.decide.allocation import TREATMENT
from otel_perfopt.decide.live import LIVE_MEASURES, Live
from otel_perfopt.decide.state import State
from otel_perfopt.execution.model import Execution, Outcome, Step, StepKind

LONGEST_S = 3600.0
MAX_CALLS = 100_000
LOAD = "load"
_P95 = 0.95
# Runs come in when they end, so a call may stand behind one that ended up to so much later.
_OUT_OF_ORDER_NS = 600 * 10**9
_OF_KIND = {StepKind.TOOL: "tool", StepKind.RETRIEVAL: "tool", StepKind.INFERENCE: "model"}


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call of a command, tool or model; what it does not state is None."""

    of: str
    end_ns: int
    command: str
    name: str
    duration_s: float | None
    failed: bool
    refused: bool
    waited_s: float
    context_share: float | None
    treated_by: frozenset[str]


@dataclass(frozen=True, slots=True)
class LiveReading:
    """What a live measure says now: its value (None: fewer calls than the condition asks for) and from how many calls."""

    value: float | None
    calls: int


class LiveWindow:
    """The calls of at most the last hour, bounded in number; kept only while some policy has a live condition.

    Calls come in as runs finish, so nearly in order of time; those of a run that went on for long are a
    little out of it, which the reading allows for.
    """

    def __init__(self, max_calls: int = MAX_CALLS) -> None:
        self.wanted = False
        self._calls: deque[Call] = deque(maxlen=max_calls)

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account, where anybody wants to know."""
        if self.wanted:
            self._calls.extend(_calls(execution))

    def forget_before(self, now_ns: int) -> None:
        """Drop what has left the window; all of it where nobody wants to know any more."""
        if not self.wanted:
            self._calls.clear()
        while self._calls and self._calls[0].end_ns < now_ns - int(LONGEST_S * 1e9):
            self._calls.popleft()

    def reading(self, live: Live, now_ns: int, *, apart_from: str = "") -> LiveReading:
        """Return what `live` measures over its last seconds.

        With `apart_from`, runs that this policy treats are left out: whether a bottleneck is still there shows
        where its remedy is not at work. Those are few, so it goes back as far as it must, up to an hour.
        """
        calls = self._latest_of(live, now_ns, apart_from if live.measure != LOAD else "")
        if len(calls) < live.min_calls and live.measure != LOAD:
            return LiveReading(None, len(calls))
        return LiveReading(_value(live, calls), len(calls))

    def _latest_of(self, live: Live, now_ns: int, apart_from: str) -> list[Call]:
        since_ns = now_ns - int(live.over_s * 1e9)
        found: list[Call] = []
        for call in reversed(self._calls):
            enough = len(found) >= live.min_calls or not apart_from
            if call.end_ns < since_ns - _OUT_OF_ORDER_NS and enough:
                break
            if (call.end_ns < since_ns and enough) or call.end_ns > now_ns or apart_from in call.treated_by:
                continue
            if _meant(live, call) and _VALUES[live.measure](call) is not None:
                found.append(call)
        return found


def _value(live: Live, calls: Sequence[Call]) -> float | None:
    if live.measure == LOAD:
        return len(calls) * 60.0 / live.over_s
    values = sorted(value for call in calls if (value := _VALUES[live.measure](call)) is not None)
    if not values:
        return None
    if live.measure in _SHARES:
        return sum(values) / len(values)
    return values[max(0, ceil(_P95 * len(values)) - 1)]


def _meant(live: Live, call: Call) -> bool:
    of = LIVE_MEASURES[live.measure].of
    names = live.tool if of == "tool" else live.model if of == "model" else ()
    return call.of == of and _fits(live.command, call.command) and _fits(names, call.name)


def _fits(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


_VALUES: Mapping[str, Callable[[Call], float | None]] = {
    "command_latency_p95": lambda call: call.duration_s,
    "tool_latency_p95": lambda call: call.duration_s,
    "model_latency_p95": lambda call: call.duration_s,
    "queue": lambda call: call.waited_s,
    "rate_limited_share": lambda call: float(call.refused),
    "tool_failure_share": lambda call: float(call.failed),
    "failure_share": lambda call: float(call.failed),
    "context_use": lambda call: call.context_share,
    "load": lambda call: 1.0,  # noqa: ARG005 - every call counts once
}
_SHARES = frozenset({"rate_limited_share", "tool_failure_share", "failure_share"})


def _calls(execution: Execution) -> Iterator[Call]:
    treated_by = frozenset(
        policy for policy, one in execution.arms.items() if one.arm == TREATMENT and one.stage != str(State.SHADOW)
    )
    command = execution.command
    for step in execution.steps:
        of = _OF_KIND.get(step.kind)
        # What a cache answered, or was made before anybody asked, says nothing of how the tool does.
        if of is not None and not step.attributes.get(c.CACHE_HIT):
            yield _call(of, step, command.name, treated_by, timed=execution.timed)
    yield Call(
        of="command",
        end_ns=command.end_ns,
        command=command.name,
        name="",
        duration_s=execution.duration_s if execution.timed else None,
        failed=execution.outcome is Outcome.FAILED,
        refused=False,
        waited_s=0.0,
        context_share=None,
        treated_by=treated_by,
    )


def _call(of: str, step: Step, command: str, treated_by: frozenset[str], *, timed: bool) -> Call:
    waited, window = step.attributes.get(c.QUEUE_TIME), step.attributes.get(c.CONTEXT_WINDOW_TOKENS)
    has_window = isinstance(window, int) and window > 0 and step.tokens.input is not None
    return Call(
        of=of,
        end_ns=step.end_ns,
        command=command,
        name=step.name,
        duration_s=step.duration_s if timed else None,
        failed=step.error_type is not None,
        refused=is_rate_limited(step),
        waited_s=float(waited) if isinstance(waited, int | float) else 0.0,
        context_share=(step.tokens.input or 0) / window if has_window and isinstance(window, int) else None,
        treated_by=treated_by,
    )
