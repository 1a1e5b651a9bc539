"""A policy's `tune`: a parameter and the values a person allows for it in, the values as agents have them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.model_base import DeclaredModel, as_tuple, nearest
from otel_perfopt.decide.quantity import (
    Duration,
    format_duration,
    format_percent,
    parse_duration,
    parse_percent,
)
from otel_perfopt.decide.rollout import Metric
from otel_perfopt.decide.tuned import MOST_VALUES

Written = Annotated[str | int | float, Field(union_mode="left_to_right")]


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{str(value)[:40]!r} is no whole number")  # noqa: TRY004 - as pydantic wants it
    return value


@dataclass(frozen=True, slots=True)
class Quantity:
    """How a parameter's values are read and written."""

    read: Callable[[object], float | int]
    write: Callable[[float], str]
    is_whole: bool = False


_SECONDS = Quantity(parse_duration, lambda value: format_duration(round(value, 3)))
_SHARE = Quantity(parse_percent, format_percent)
_WHOLE = Quantity(_whole, lambda value: f"{value:.0f}", is_whole=True)


@dataclass(frozen=True, slots=True)
class TunableParameter:
    """One parameter whose value a unit can have for itself: its name on the agent side, and its range."""

    field: str
    quantity: Quantity
    least: float
    most: float


# One line a parameter that is looked at call by call. What all units of a process share (a limit of concurrency, a
# budget, a batch's window) has no value of a unit's own, and so cannot be compared by unit.
TUNABLE_PARAMETERS: Mapping[str, Mapping[str, TunableParameter]] = {
    "parallel_tools": {"maxConcurrency": TunableParameter("max_concurrency", _WHOLE, 2, 64)},
    "tool_cache": {"ttl": TunableParameter("ttl_s", _SECONDS, 0.001, 1e8)},
    "response_cache": {"ttl": TunableParameter("ttl_s", _SECONDS, 0.001, 1e8)},
    "context_compression": {
        "minSaving": TunableParameter("min_saving", _WHOLE, 1, 1e7),
        "maxChars": TunableParameter("max_chars", _WHOLE, 0, 1e8),
    },
    "selective_context": {
        "maxSections": TunableParameter("max_sections", _WHOLE, 0, 100),
        "minScore": TunableParameter("min_score", _SHARE, 0, 1),
        "minChars": TunableParameter("min_chars", _WHOLE, 0, 1e8),
        "maxHistoryChars": TunableParameter("max_history_chars", _WHOLE, 0, 1e8),
    },
    "retry_hedge": {
        "hedgeAfter": TunableParameter("hedge_after_s", _SECONDS, 0.001, 1e6),
        "hedgeQuantile": TunableParameter("hedge_quantile", _SHARE, 0.5, 0.999),
    },
}


class Tune(DeclaredModel):
    """A parameter that is tuned while the policy runs, never outside what stands here.

    Either its `values`, or `steps` of them `from` one `to` another (evenly, or by equal factors where the range is
    wide). Each treated unit has one of them; a value is dropped when another is shown better in `goal` (the
    policy's own unless named), each with at least `min_units`. After `max_units` without a winner the declared
    value stays, if it is among what is left. `again_s` after that, all are tried anew.
    """

    parameter: str = Field(min_length=1, max_length=63)
    values: Annotated[tuple[Written, ...], BeforeValidator(as_tuple), Field(max_length=MOST_VALUES)] = ()
    from_: Written | None = Field(default=None, alias="from")
    to: Written | None = None
    steps: int = Field(default=4, ge=2, le=MOST_VALUES)
    goal: Metric | None = None
    min_units: int = Field(default=100, ge=30, le=1_000_000)
    max_units: int = Field(default=4000, ge=100, le=10_000_000)
    again_s: Duration | None = Field(default=None, alias="again")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = (bool(self.values), self.from_ is not None, self.to is not None)
        if given not in {(True, False, False), (False, True, True)}:
            raise ValueError("needs either values, or from and to (with steps)")
        return self

    def numbers(self, optimization: str) -> tuple[float | int, ...]:
        """Return the values as agents have them, from small to large.

        Raises:
            ValueError: the type has no such parameter to tune, or a value is none of it.
        """
        parameter = self.tunable(optimization)
        read = parameter.quantity.read
        if self.values:
            found = [read(value) for value in self.values]
        else:
            found = _between(read(self.from_), read(self.to), self.steps, whole=parameter.quantity.is_whole)
        for value in found:
            if not parameter.least <= value <= parameter.most:
                least, most = parameter.quantity.write(parameter.least), parameter.quantity.write(parameter.most)
                raise ValueError(f"{self.parameter} lies between {least} and {most}")
        distinct = tuple(sorted(set(found)))
        if len(distinct) < 2:
            raise ValueError("needs two different values: with one there is nothing to tune")
        return distinct

    def tunable(self, optimization: str) -> TunableParameter:
        """Return what is known of the parameter.

        Raises:
            ValueError: the type has no such parameter to tune.
        """
        known = TUNABLE_PARAMETERS.get(optimization, {})
        if self.parameter not in known:
            types = ", ".join(TUNABLE_PARAMETERS)
            raise ValueError(
                f"{self.parameter!r} of {optimization} cannot be tuned"
                + (nearest(self.parameter, known) if known else f"; types with such a parameter are {types}")
            )
        return known[self.parameter]

    def written(self, optimization: str, value: float) -> str:
        """Return a value as a policy says it."""
        return self.tunable(optimization).quantity.write(value)


def _between(least: float, most: float, steps: int, *, whole: bool) -> list[float | int]:
    if least >= most:
        raise ValueError("from must be less than to")
    parts = [number / (steps - 1) for number in range(steps)]
    by_factors = least > 0 and most / least >= 4
    made = [least * (most / least) ** part if by_factors else least + (most - least) * part for part in parts]
    made[0], made[-1] = least, most
    return [round(value) for value in made] if whole else [round(value, 6) for value in made]


def tuned_scope_problem(optimization: str, parameters: Any) -> str | None:
    """Return why a unit cannot have a value of its own: what it keeps would be used by others too."""
    scope = getattr(parameters, "scope", "conversation")
    shares = optimization in {"tool_cache", "response_cache"} and scope != "conversation"
    return (
        f"results are shared by {scope}, so ttl is no unit's own; tune it with scope: conversation" if shares else None
    )
