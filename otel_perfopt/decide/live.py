"""A condition on what is measured right now: the `live` mapping of a `when` in, a checked model out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator
from typing_extensions import Self

from otel_perfopt.decide.model_base import DeclaredModel, Globs, nearest
from otel_perfopt.decide.quantity import Duration, format_duration, format_percent, parse_duration, parse_percent

SECONDS = "s"
SHARE = "share"
PER_MINUTE = "per_minute"
_EXAMPLES = {SECONDS: "2s", SHARE: "5%", PER_MINUTE: "300/min"}
_RATE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?/ ?min", re.ASCII)


@dataclass(frozen=True, slots=True)
class LiveMeasure:
    """What a live measure is of (`command`, `tool` or `model` calls), in which unit, and what it says."""

    of: str
    unit: str
    says: str


# One line a measure; `loop/live_window.py` has the value of each.
LIVE_MEASURES: Mapping[str, LiveMeasure] = {
    "command_latency_p95": LiveMeasure("command", SECONDS, "the 95th percentile of commands' durations"),
    "tool_latency_p95": LiveMeasure("tool", SECONDS, "the 95th percentile of tool calls' durations"),
    "model_latency_p95": LiveMeasure("model", SECONDS, "the 95th percentile of model calls' durations"),
    "queue": LiveMeasure("model", SECONDS, "the 95th percentile of model calls' waits for their turn"),
    "rate_limited_share": LiveMeasure("model", SHARE, "the share of model calls refused for their rate (429, 529)"),
    "tool_failure_share": LiveMeasure("tool", SHARE, "the share of tool calls that failed"),
    "failure_share": LiveMeasure("command", SHARE, "the share of commands that failed"),
    "context_use": LiveMeasure("model", SHARE, "the 95th percentile of input tokens over the model's window"),
    "load": LiveMeasure("command", PER_MINUTE, "finished commands a minute"),
}


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a live measure: seconds, a share, or a number a minute."""

    value: float
    unit: str

    def __str__(self) -> str:
        return format_level(self.value, self.unit)


def format_level(value: float, unit: str) -> str:
    """Return a value of a live measure as a person would write it."""
    if unit == SECONDS:
        return format_duration(round(value, 3))
    return format_percent(round(value, 4)) if unit == SHARE else f"{round(value, 1):g}/min"


def parse_level(value: object) -> Level:
    """Return the level in `2s`, `5%` or `300/min`.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, Level):
        return value
    text = str(value)[:40]
    found = _RATE.fullmatch(text) if isinstance(value, str) else None
    if found is not None:
        return Level(float(found.group(1)), PER_MINUTE)
    try:
        return Level(parse_percent(value), SHARE) if text.endswith("%") else Level(parse_duration(value), SECONDS)
    except ValueError:
        message = f"{text!r} is no level; write 2s for a time, 5% for a share or 300/min for a rate"
        raise ValueError(message) from None


def _known_measure(word: str) -> str:
    if word not in LIVE_MEASURES:
        raise ValueError(f"{word!r} is no live measure{nearest(word, LIVE_MEASURES)}")
    return word


LevelText = Annotated[
    Level,
    BeforeValidator(parse_level),
    PlainSerializer(lambda level: {"value": level.value, "unit": level.unit}, return_type=dict),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+(\.\d+)? ?%|(\d+(\.\d+)?(ms|[smhdw]))+|\d+(\.\d+)? ?/ ?min)$"}),
]
MeasureWord = Annotated[
    str, AfterValidator(_known_measure), WithJsonSchema({"type": "string", "enum": list(LIVE_MEASURES)})
]


class Live(DeclaredModel):
    """The bottleneck a policy waits for: it wakes at `above` for `for_s` and stands down at `off_below` for `off_for_s`.

    The measure is taken over the last `over_s` seconds of calls that `command`, `tool` and `model` name, and
    counts from `min_calls` calls on. Between the two levels, and with fewer calls, the policy stays as it is.
    """

    measure: MeasureWord
    command: Globs = ()
    tool: Globs = ()
    model: Globs = ()
    above: LevelText
    off_below: LevelText | None = None
    for_s: Duration = Field(default=60.0, alias="for")
    off_for_s: Duration = Field(default=300.0, alias="offFor")
    over_s: Duration = Field(default=120.0, alias="over")
    min_calls: int = Field(default=20, ge=2, le=100_000)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        known = LIVE_MEASURES[self.measure]
        for key, level in (("above", self.above), ("offBelow", self.off)):
            if level.unit != known.unit:
                raise ValueError(f"{key} of {self.measure} is written as {_EXAMPLES[known.unit]}")
        if self.off.value > self.above.value:
            raise ValueError(f"offBelow must be at most above, {self.above}: between the two nothing changes")
        for word, names in (("tool", self.tool), ("model", self.model)):
            if names and known.of != word:
                raise ValueError(f"{self.measure} is of {known.of} calls; leave {word} out")
        if self.over_s > 3600.0:
            raise ValueError("over is at most 1h: what happened before is no live measure")
        return self

    @property
    def off(self) -> Level:
        """The level at which it stands down: a fifth below where it woke, unless the policy says."""
        return self.off_below if self.off_below is not None else Level(self.above.value * 0.8, self.above.unit)

    @property
    def unit(self) -> str:
        """The unit of the measure."""
        return LIVE_MEASURES[self.measure].unit

    def __str__(self) -> str:
        names = ", ".join((*self.tool, *self.model, *self.command))
        return f"{self.measure}{f' of {names}' if names else ''} above {self.above}"
