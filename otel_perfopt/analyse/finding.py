"""The types room 4 hands on: what was found, how large it is, how sure that is, and what shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from otel_perfopt.execution.model import Target


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval at confidence `level`."""

    estimate: float
    low: float
    high: float
    level: float = 0.95

    def through(self, function: Callable[[float], float]) -> Interval:
        """Return the interval of a rising or falling function of what this one is of."""
        low, high = sorted((function(self.low), function(self.high)))
        return Interval(function(self.estimate), low, high, self.level)

    def times(self, factor: float) -> Interval:
        """Return the interval of a multiple."""
        return self.through(lambda value: value * factor)


@dataclass(frozen=True, slots=True)
class Effect:
    """How large a finding is.

    `relative` is the share of `metric` for the target (0.2 = 20 %), `absolute` the same per run in
    `unit`. For an opportunity both are what would be saved; None means not enough data to say.
    """

    metric: str
    unit: str
    relative: Interval | None = None
    absolute: Interval | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place to look: the trace (or session), the step in it, where it was read, and what is there."""

    trace_id: str
    span_id: str = ""
    location: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The optimization that would act on a finding, with the parameters and match it would have.

    `when` is the condition its policy would wait for; it speaks of when to act and predicts no saving.
    """

    optimization: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    match: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    when: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Worth:
    """What acting on a finding is expected to save, so that findings of every kind compare.

    `share` is that part of all runs' time, tokens or cost; `per_day` the same in `unit` (s, {token},
    USD) a day (None: the whole is not known). Where no replay shows it, the estimate is what is at
    stake times a stated chance, and the interval begins at nothing.
    """

    share: Interval
    per_day: Interval | None
    unit: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something true of the runs that a person or a policy may act on.

    `kind` is a word of the vocabulary that policies' `when` uses (hotspot, repeated_call,
    serial_independent, resent_context, trend, season, change_point, …); `summary` is one sentence
    with its numbers; `window_ns` the time it speaks of; `occurrences` how often it was seen in
    `runs` runs. `saving` is the share of all runs' `effect.metric` that acting on it is predicted to
    save (None: nothing claimed); findings in `overlaps` (`kind: target`) claim partly the same
    saving, so the two must not be added. `worth` is what findings are ranked by.
    """

    kind: str
    target: Target
    summary: str
    detector: str
    effect: Effect
    window_ns: tuple[int, int] = (0, 0)
    occurrences: int = 0
    runs: int = 0
    evidence: tuple[Evidence, ...] = ()
    suggestion: Suggestion | None = None
    saving: Interval | None = None
    overlaps: tuple[str, ...] = ()
    worth: Worth | None = None

    @property
    def label(self) -> str:
        """Kind and target, as `overlaps` of other findings names this one."""
        return f"{self.kind}: {self.target}"
