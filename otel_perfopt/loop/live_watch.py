"""Live conditions with hysteresis: what is measured each turn in, awake, asleep or nobody knows (with numbers) out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from otel_perfopt.decide.live import Live, format_level
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.quantity import format_duration
from otel_perfopt.decide.state import State
from otel_perfopt.execution.model import Execution
from otel_perfopt.loop.live_window import LiveReading, LiveWindow

# No reading for this long breaks what was held up to then: nobody saw what went on in between.
_BLIND_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class LiveAnswer:
    """Whether the bottleneck is there (None: stay as it is), why in a sentence, and the numbers for the ledger."""

    met: bool | None
    reason: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    """Since when a condition has held without a break, and when it was last seen to."""

    digest: str
    awake: bool
    since_ns: int
    seen_ns: int


class LiveWatch:
    """Answers every policy's live condition once a turn; a policy without one costs nothing, and none at all no memory.

    Waking needs the measure at or above its level in every reading of `for`, standing down at or below its lower
    level in every reading of `offFor`; a reading with too few calls neither holds nor breaks it, until nobody
    has seen anything for a minute. While the policy is exposed, only runs that it does not treat are
    measured: its own remedy must not pass for the end of the bottleneck.
    """

    def __init__(self) -> None:
        self.window = LiveWindow()
        self.readings: dict[str, LiveReading] = {}
        self._held: dict[str, _Held] = {}

    def observe(self, execution: Execution) -> None:
        """Take one finished run into account."""
        self.window.observe(execution)

    def answers(self, statuses: Iterable[PolicyStatus], now_ns: int) -> dict[str, LiveAnswer]:
        """Return the answer for each policy that has a live condition."""
        waiting = [(one, one.policy.spec.when.live) for one in statuses if one.policy.spec.when is not None]
        live = [(status, condition) for status, condition in waiting if condition is not None]
        self.window.wanted = bool(live)
        self.window.forget_before(now_ns)
        names = {status.name for status, _ in live}
        self._held = {name: held for name, held in self._held.items() if name in names}
        self.readings = {name: reading for name, reading in self.readings.items() if name in names}
        return {status.name: self._answer(status, condition, now_ns) for status, condition in live}

    def _answer(self, status: PolicyStatus, live: Live, now_ns: int) -> LiveAnswer:
        awake = status.state.state not in {State.DORMANT, State.NEW}
        apart_from = status.name if status.state.is_exposed else ""
        reading = self.readings[status.name] = self.window.reading(live, now_ns, apart_from=apart_from)
        lasted_s = self._lasted_s(status, live, reading, now_ns, awake=awake)
        if lasted_s is None or lasted_s < (live.off_for_s if awake else live.for_s):
            still = awake and reading.value is not None and reading.value >= live.above.value
            return LiveAnswer(True if still else None)
        return _answered(live, reading, lasted_s, met=not awake)

    def _lasted_s(
        self, status: PolicyStatus, live: Live, reading: LiveReading, now_ns: int, *, awake: bool
    ) -> float | None:
        """Return for how long the measure has been beyond the level at which the policy changes; None: it is not."""
        held = self._held.get(status.name)
        if held is not None and (held.digest, held.awake) != (status.digest, awake):
            held = None
        if reading.value is None:
            if held is not None and now_ns - held.seen_ns > _BLIND_AFTER_S * 1e9:
                self._held.pop(status.name, None)
            return None
        beyond = reading.value <= live.off.value if awake else reading.value >= live.above.value
        if not beyond:
            self._held.pop(status.name, None)
            return None
        held = held or _Held(status.digest, awake, now_ns, now_ns)
        held.seen_ns = now_ns
        self._held[status.name] = held
        return (now_ns - held.since_ns) / 1e9


def _answered(live: Live, reading: LiveReading, lasted_s: float, *, met: bool) -> LiveAnswer:
    assert reading.value is not None
    names = ", ".join((*live.tool, *live.model, *live.command))
    level, side = (live.above, "at or above") if met else (live.off, "at or below")
    value = format_level(reading.value, live.unit)
    lasted = format_duration(float(round(lasted_s)))
    over = format_duration(live.over_s)
    return LiveAnswer(
        met,
        f"{live.measure}{f' of {names}' if names else ''} is {value} in {reading.calls} calls of the last {over}: "
        f"{side} {level} for {lasted}",
        {
            "measure": live.measure,
            "value": round(reading.value, 6),
            "level": level.value,
            "calls": reading.calls,
            "for_s": round(lasted_s, 3),
        },
    )
