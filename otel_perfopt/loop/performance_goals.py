"""What the agents' performance should become: `goals.yaml` of a home folder in, checked goals out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.document import read_documents
from otel_perfopt.decide.field_problem import check_document
from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.quantity import Margin, MarginText
from otel_perfopt.errors import InvalidFileError

GOALS_FILE = "goals.yaml"


class DeclaredGoal(DeclaredModel):
    """One goal: an improvement over how things are without optimizations, or a value to reach."""

    improve: MarginText | None = None
    reach: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.improve is None) == (self.reach is None):
            raise ValueError("needs either improve, such as 30%, or reach, such as 1.5")
        return self


class GoalsSpec(DeclaredModel):
    """The goals; what is absent has the specification's value, and satisfaction is scored as its judges score."""

    response_time: DeclaredGoal = DeclaredGoal(improve=Margin(0.30))
    thinking_time: DeclaredGoal = DeclaredGoal(improve=Margin(0.25))
    tool_time: DeclaredGoal = DeclaredGoal(improve=Margin(0.35))
    tokens: DeclaredGoal = DeclaredGoal(improve=Margin(0.20))
    success: DeclaredGoal = DeclaredGoal(improve=Margin(0.03, absolute=True))
    satisfaction: DeclaredGoal = DeclaredGoal(improve=Margin(0.07))


class PerformanceGoals(DeclaredModel):
    """The document of `goals.yaml`."""

    api_version: Literal["perfopt.dev/v1"]
    kind: Literal["PerformanceGoals"]
    spec: GoalsSpec = GoalsSpec()


@dataclass(frozen=True, slots=True)
class GoalTarget:
    """One goal, as it is measured: `improve` is a share of the reference (points where `absolute`), or a value to `reach`."""

    higher_is_better: bool
    improve: float = 0.0
    absolute: bool = False
    reach: float | None = None

    def target(self, reference: float | None) -> float | None:
        """Return the value to reach; None where it depends on a reference that nobody knows yet."""
        if self.reach is not None:
            return self.reach
        if reference is None:
            return None
        step = self.improve if self.absolute else self.improve * reference
        if not self.higher_is_better:
            return reference - step
        # Points are of a share, and no share is above all of it.
        return min(1.0, reference + step) if self.absolute else reference + step

    def improvement(self, reference: float | None, value: float | None) -> float | None:
        """Return how much better `value` is than the reference: a share of it, or points where the goal is in points."""
        if reference is None or value is None:
            return None
        better = value - reference if self.higher_is_better else reference - value
        if self.absolute:
            return better
        return better / reference if reference else None

    def asked(self, reference: float | None) -> float | None:
        """Return the improvement from the reference to the target; 0 where the reference is there already."""
        found = self.improvement(reference, self.target(reference))
        return None if found is None else max(0.0, found)


_HIGHER = frozenset({"success", "satisfaction"})


def read_goals(home: Path) -> Mapping[str, GoalTarget]:
    """Return every goal by its name (the fields of `GoalsSpec`); the specification's where the file is absent.

    Raises:
        InvalidFileError: with every problem of the file.
    """
    path = home / GOALS_FILE
    return _targets(_read(path).spec if path.exists() else GoalsSpec())


def _read(path: Path) -> PerformanceGoals:
    documents, problems = read_documents(path)
    if not problems and len(documents) == 1:
        goals, problems = check_document(documents[0], PerformanceGoals)
        if goals is not None:
            return goals
    elif documents[1:]:
        problems.append(documents[1].problem((), "is a second document; keep one"))
    if problems:
        raise InvalidFileError(tuple(problems))
    return PerformanceGoals(api_version="perfopt.dev/v1", kind="PerformanceGoals")


def _targets(spec: GoalsSpec) -> dict[str, GoalTarget]:
    found = {}
    for name in GoalsSpec.model_fields:
        declared: DeclaredGoal = getattr(spec, name)
        improve = declared.improve or Margin(0.0)
        found[name] = GoalTarget(name in _HIGHER, improve.value, improve.absolute, declared.reach)
    return found
