"""What a person declares: the mapping of an `OptimizationPolicy` document in, a checked frozen model out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from typing_extensions import Self

from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.decide.early_budget import EarlyBudget
from otel_perfopt.decide.live import Live
from otel_perfopt.decide.model_base import (
    DeclaredModel,
    Glob,
    Globs,
    Name,
    Text,
    Word,
    as_tuple,
    nearest,
    one_as_tuple,
)
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES, Optimize
from otel_perfopt.decide.optimizations.kind import OptimizationType
from otel_perfopt.decide.people import Preferences, Users
from otel_perfopt.decide.quantity import Duration, Percent
from otel_perfopt.decide.rollout import DEFAULT_GUARDRAILS, MIN_RETAINED, Goal, Guardrail, Rollback, Rollout
from otel_perfopt.decide.strategy import Strategy, strategy_mapping
from otel_perfopt.decide.tuning import Tune, tuned_scope_problem

# The types that make calls before anybody asks for them.
EARLY_TYPES = ("parallel_tools", "preload", "retry_hedge")
EffectsWord = Literal["read", "write", "unknown"]
Gate = Literal["shadow", "canary", "active"]


class Metadata(DeclaredModel):
    """Whose policy it is; nothing here changes what the policy does, except its name."""

    name: Name
    owner: Text = ""
    author: Text = ""
    annotations: dict[str, Text] = Field(default_factory=dict, max_length=50)


def _known_finding(word: str) -> str:
    if word not in FINDING_KINDS:
        raise ValueError(f"{word!r} is no finding that the analysis has a word for{nearest(word, FINDING_KINDS)}")
    return word


FindingWord = Annotated[
    str, AfterValidator(_known_finding), WithJsonSchema({"type": "string", "enum": sorted(FINDING_KINDS)})
]


class When(DeclaredModel):
    """What must be there before the policy wakes; it goes back to sleep when that is gone.

    Either a `finding` of the analysis: `at_least` is the least relative effect; `ahead` wakes it that long
    before a forecast window. Or a `live` measure, by which the policy wakes to where it stood.
    """

    finding: FindingWord | None = None
    live: Live | None = None
    metric: Word | None = None
    at_least: Percent | None = None
    ahead_s: Duration | None = Field(default=None, alias="ahead")

    @model_validator(mode="after")
    def _foreseen(self) -> Self:
        if (self.finding is None) == (self.live is None):
            raise ValueError("needs either finding, of the analysis, or live, of what is measured right now")
        if self.finding is None:
            if self.metric is not None or self.at_least is not None or self.ahead_s is not None:
                raise ValueError("metric, atLeast and ahead belong to a finding; live has its own levels")
            return self
        if self.ahead_s is not None and not FINDING_KINDS[self.finding].ahead:
            foreseen = ", ".join(sorted(kind for kind, told in FINDING_KINDS.items() if told.ahead))
            raise ValueError(
                f"ahead needs a finding of what is to come ({foreseen}); {self.finding} speaks of what was"
            )
        return self

    def __str__(self) -> str:
        return str(self.live) if self.live is not None else str(self.finding)


class MatchSpec(DeclaredModel):
    """Which calls are meant: glob patterns over names; an empty list does not narrow.

    `preference` and `user` narrow it to calls for people: what they prefer, and who they are, as the
    digests that `perfopt preference` prints.
    """

    command: Globs = ()
    tool: Globs = ()
    model: Globs = ()
    preference: Preferences = ()
    user: Users = ()

    @model_validator(mode="after")
    def _narrows(self) -> Self:
        if not (self.command or self.tool or self.model or self.preference or self.user):
            raise ValueError('names nothing; give command, tool or model, or command: ["*"] to mean every command')
        return self


class ExcludeSpec(DeclaredModel):
    """Which calls are never touched although they match; one matching list is enough."""

    command: Globs = ()
    tool: Globs = ()
    model: Globs = ()
    preference: Preferences = ()
    user: Users = ()
    tool_effects: Annotated[
        tuple[EffectsWord, ...],
        BeforeValidator(one_as_tuple, json_schema_input_type=EffectsWord | list[EffectsWord]),
    ] = ("write", "unknown")


class ApprovalSpec(DeclaredModel):
    """Who must say yes before which gate, and for how long that holds; `approval: auto` asks nobody."""

    gates: Annotated[tuple[Gate, ...], BeforeValidator(one_as_tuple, json_schema_input_type=Gate | list[Gate])] = (
        "canary",
        "active",
    )
    approvers: Globs = ()
    allow_self: bool = False
    expires_s: Duration = Field(default=14 * 86400.0, alias="expires")

    @property
    def automatic_gates(self) -> tuple[str, ...]:
        """The gates to exposure that nobody is asked about; any at all needs the boundary's permission."""
        return tuple(gate for gate in ("canary", "active") if gate not in self.gates)


def _approval(value: object) -> object:
    return {"gates": []} if value == "auto" else value


class PolicySpec(DeclaredModel):
    """What the policy does, to which calls, how carefully, and what it must achieve."""

    mode: Literal["disabled", "shadow", "canary", "active"] = "active"
    when: When | None = None
    match: MatchSpec
    exclude: ExcludeSpec = ExcludeSpec()
    effects: dict[Glob, Literal["read", "write"]] = Field(default_factory=dict, max_length=200)
    optimize: Optimize
    approval: Annotated[
        ApprovalSpec, BeforeValidator(_approval, json_schema_input_type=Literal["auto"] | ApprovalSpec)
    ] = ApprovalSpec()
    rollout: Rollout = Rollout()
    goal: Goal
    guardrails: Annotated[tuple[Guardrail, ...], BeforeValidator(as_tuple), Field(max_length=50)] = DEFAULT_GUARDRAILS
    alpha: float = Field(default=0.05, gt=0, le=0.2)
    rollback: Rollback = Rollback()
    expires_s: Duration | None = Field(default=None, alias="expires")
    strategy: Annotated[
        Strategy | None, BeforeValidator(strategy_mapping, json_schema_input_type=Name | Strategy | None)
    ] = None

    tune: Tune | None = None
    budget: EarlyBudget | None = None

    @model_validator(mode="before")
    @classmethod
    def _unit_of_process(cls, data: object) -> object:
        """What all calls of a process share is compared between processes, where the policy names no unit."""
        optimize = data.get("optimize") if isinstance(data, dict) else None
        kind = OPTIMIZATION_TYPES.get(str(optimize.get("type"))) if isinstance(optimize, dict) else None
        rollout = data.get("rollout", {}) if isinstance(data, dict) else None
        if kind is None or not kind.process_wide or not isinstance(rollout, dict) or "unit" in rollout:
            return data
        return {**data, "rollout": {**rollout, "unit": "process"}} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind = self.kind
        if kind.process_wide and self.rollout.unit != "process":
            raise ValueError(f"{self.optimize.type} changes the whole process; write rollout.unit: process")
        missing = [word for word in ("write", "unknown") if word not in self.exclude.tool_effects]
        if kind.read_only and missing:
            raise ValueError(
                f"{self.optimize.type} never touches tools that may write; keep write and unknown in exclude.toolEffects"
            )
        steps = self.rollout.canary_steps
        if self.mode in {"canary", "active"} and not steps:
            raise ValueError(
                "rollout.steps exposes nobody; add a step with treatment and baseline, or set mode: shadow"
            )
        if self.mode == "active" and steps[-1].treatment != steps[-1].baseline:
            raise ValueError(
                "benefit is claimed only between equal arms; give the last step of rollout.steps as much baseline as treatment"
            )
        metrics = [guardrail.metric for guardrail in self.guardrails]
        if len(set(metrics)) < len(metrics):
            raise ValueError("guardrails names a metric twice; keep one")
        return self

    @model_validator(mode="after")
    def _for_people(self) -> Self:
        """What all calls of a process share cannot be for some people only."""
        people = (self.match.preference, self.match.user, self.exclude.preference, self.exclude.user)
        if any(people) and self.kind.process_wide:
            raise ValueError(f"{self.optimize.type} changes the whole process; match and exclude name nobody there")
        return self

    @model_validator(mode="after")
    def _has_alternatives(self) -> Self:
        if self.strategy is not None and self.rollout.unit == "process":
            raise ValueError("alternatives are switched by conversation or user; a process keeps what it began with")
        return self

    @model_validator(mode="after")
    def _tunes(self) -> Self:
        if self.tune is not None:
            problem = tuned_scope_problem(self.optimize.type, self.optimize.parameters)
            if problem is not None:
                raise ValueError(problem)
            self.tune.numbers(self.optimize.type)
        return self

    @model_validator(mode="after")
    def _budgeted(self) -> Self:
        if self.budget is not None and self.optimize.type not in EARLY_TYPES:
            raise ValueError(f"budget is of calls made early, and only {' and '.join(EARLY_TYPES)} make any")
        return self

    def tuned_values(self) -> tuple[float | int, ...]:
        """Return the values that are tried, as agents have them; none where nothing is tuned."""
        return self.tune.numbers(self.optimize.type) if self.tune is not None else ()

    @property
    def needed_retention(self) -> float | None:
        """The share of what replies use that shadow must show to be kept; None for types that leave out nothing."""
        asked = self.rollout.limits.min_retained
        return (MIN_RETAINED if asked is None else asked) if self.kind.shortens_context else None

    @property
    def kind(self) -> OptimizationType:
        """What is known of the optimization's type."""
        return OPTIMIZATION_TYPES[self.optimize.type]


class OptimizationPolicy(DeclaredModel):
    """One declared policy."""

    api_version: Literal["perfopt.dev/v1"]
    kind: Literal["OptimizationPolicy"]
    metadata: Metadata
    spec: PolicySpec

    @property
    def name(self) -> str:
        """The policy's name, unique among all policies."""
        return self.metadata.name
