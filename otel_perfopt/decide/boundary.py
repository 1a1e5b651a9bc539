"""What may never be exceeded: a `SafetyBoundary` document and a policy in, violations and narrowed decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.early_budget import EarlyBudget
from otel_perfopt.decide.glob import covers_any
from otel_perfopt.decide.model_base import DeclaredModel, Globs, as_tuple, nearest, one_as_tuple
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.policy import Metadata, OptimizationPolicy
from otel_perfopt.decide.quantity import Duration, Share, format_duration, format_percent
from otel_perfopt.decide.rollout import Guardrail

_ROUNDING = 1e-9


def _known_types(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word not in OPTIMIZATION_TYPES:
            raise ValueError(f"{word!r} is no type this version knows{nearest(word, OPTIMIZATION_TYPES)}")
    return words


_TYPES_SCHEMA = {"type": "array", "items": {"type": "string", "enum": sorted(OPTIMIZATION_TYPES)}}
Types = Annotated[
    tuple[str, ...], BeforeValidator(one_as_tuple), AfterValidator(_known_types), WithJsonSchema(_TYPES_SCHEMA)
]


class AllowDeny(DeclaredModel):
    """Names that may be touched; what is denied stays denied although it is allowed too."""

    allow: Globs = ("*",)
    deny: Globs = ()


class BoundarySpec(DeclaredModel):
    """Upper limits on every policy; what is absent has a safe default.

    Prompts and credentials go to no endpoint that is not allowed by name. `max_exposure` caps treatment in every canary step and when active; `automatic` names the types
    that may go ahead without anybody's approval (none); `max_ttl_s` and `max_concurrency` cap
    parameters; a policy must watch each metric of `budgets` with a margin at most as wide. `early_calls` is one
    budget of calls made early for all policies together.
    """

    max_exposure: Share = 1.0
    types: Types = tuple(sorted(OPTIMIZATION_TYPES))
    automatic: Types = ()
    commands: AllowDeny = AllowDeny()
    tools: AllowDeny = AllowDeny()
    models: AllowDeny = AllowDeny()
    endpoints: AllowDeny = AllowDeny(allow=())
    max_ttl_s: Duration = Field(default=86400.0, alias="maxTtl")
    max_entries: int = Field(default=100_000, ge=1)
    max_concurrency: int = Field(default=16, ge=1)
    max_alpha: float = Field(default=0.1, gt=0, lt=1)
    require_shadow: bool = False
    allow_self: bool = True
    budgets: Annotated[tuple[Guardrail, ...], BeforeValidator(as_tuple), Field(max_length=50)] = ()
    early_calls: EarlyBudget | None = None


class SafetyBoundary(DeclaredModel):
    """Limits owned by somebody else than the policies' owners; several together are as strict as the strictest."""

    api_version: Literal["perfopt.dev/v1"]
    kind: Literal["SafetyBoundary"]
    metadata: Metadata
    spec: BoundarySpec = BoundarySpec()


DEFAULT_BOUNDARY = SafetyBoundary.model_validate(
    {"apiVersion": "perfopt.dev/v1", "kind": "SafetyBoundary", "metadata": {"name": "default"}}
)
# In force while the file with the real one cannot be read and none was read before.
CLOSED_BOUNDARY = SafetyBoundary.model_validate(
    {
        "apiVersion": "perfopt.dev/v1",
        "kind": "SafetyBoundary",
        "metadata": {"name": "closed"},
        "spec": {"types": [], "maxExposure": "0%"},
    }
)


def violations(policy: OptimizationPolicy, boundaries: Iterable[SafetyBoundary]) -> tuple[str, ...]:
    """Return what in a policy exceeds a boundary, one sentence each, with the field and the limit."""
    return tuple(
        f"{message} (boundary {boundary.metadata.name})"
        for boundary in boundaries
        for check in (_type_and_approval, _exposure, _names, _parameters, _evidence)
        for message in check(policy, boundary.spec)
    )


def _type_and_approval(policy: OptimizationPolicy, limit: BoundarySpec) -> Iterator[str]:
    spec = policy.spec
    kind = spec.optimize.type
    if kind not in limit.types:
        yield f"spec.optimize.type is {kind}, which is not among the types allowed: {', '.join(limit.types) or 'none'}"
    if spec.mode in {"canary", "active"} and spec.approval.automatic_gates and kind not in limit.automatic:
        gates = " and ".join(spec.approval.automatic_gates)
        yield f"spec.approval asks nobody before {gates}, and {kind} may not be automatic; add the gates"
    if spec.approval.allow_self and not limit.allow_self:
        yield "spec.approval.allowSelf is true, which is not allowed; ask somebody else"
    if limit.require_shadow and spec.rollout.shadow_s is None and spec.mode != "disabled":
        yield "spec.rollout.steps has no shadow step, and one is required first"


def _exposure(policy: OptimizationPolicy, limit: BoundarySpec) -> Iterator[str]:
    for index, step in enumerate(policy.spec.rollout.steps):
        if (step.treatment or 0.0) > limit.max_exposure + _ROUNDING:
            allowed = format_percent(limit.max_exposure)
            yield f"spec.rollout.steps[{index}].treatment is {format_percent(step.treatment or 0)}, allowed is {allowed}"


def _names(policy: OptimizationPolicy, limit: BoundarySpec) -> Iterator[str]:
    match = policy.spec.match
    rules = {"command": (match.command, limit.commands), "tool": (match.tool, limit.tools)}
    rules |= {"model": (match.model, limit.models)} if match.model else {}
    for word, (patterns, rule) in rules.items():
        if not patterns and "*" not in rule.allow:
            yield f"spec.match.{word} is not narrowed, but only these are allowed: {', '.join(rule.allow) or 'none'}"
        for pattern in patterns:
            if covers_any(rule.deny, pattern):
                yield f"spec.match.{word} names {pattern}, which is denied"
            elif not covers_any(rule.allow, pattern):
                yield f"spec.match.{word} names {pattern}, which is not within what is allowed: {', '.join(rule.allow)}"


def _parameters(policy: OptimizationPolicy, limit: BoundarySpec) -> Iterator[str]:
    # By name, so that a limit holds for every optimization that has such a parameter, and for every value it is tuned to.
    parameters, tune = policy.spec.optimize.parameters, policy.spec.tune
    said = list(_exceeded(parameters, limit))
    if tune is not None:
        field = tune.tunable(policy.spec.optimize.type).field
        tried = (parameters.model_copy(update={field: value}) for value in policy.spec.tuned_values())
        said += [message for one in tried for message in _exceeded(one, limit)]
    yield from dict.fromkeys(said)


def _exceeded(parameters: BaseModel, limit: BoundarySpec) -> Iterator[str]:
    ttl_s = getattr(parameters, "ttl_s", None)
    if ttl_s is not None and ttl_s > limit.max_ttl_s:
        yield f"spec.optimize.with.ttl is {format_duration(ttl_s)}, allowed is {format_duration(limit.max_ttl_s)}"
    entries = getattr(parameters, "max_entries", None)
    if entries is not None and entries > limit.max_entries:
        yield f"spec.optimize.with.maxEntries is {entries}, allowed is {limit.max_entries}"
    concurrency = getattr(parameters, "max_concurrency", None)
    if concurrency is not None and concurrency > limit.max_concurrency:
        yield f"spec.optimize.with.maxConcurrency is {concurrency}, allowed is {limit.max_concurrency}"
    model = getattr(parameters, "model", None)
    if model is not None:
        if covers_any(limit.models.deny, model):
            yield f"spec.optimize.with.model is {model}, which is denied"
        elif not covers_any(limit.models.allow, model):
            allowed = ", ".join(limit.models.allow)
            yield f"spec.optimize.with.model is {model}, which is not within what is allowed: {allowed}"
    for url in getattr(parameters, "endpoints", ()):
        if covers_any(limit.endpoints.deny, url) or not covers_any(limit.endpoints.allow, url):
            allowed = ", ".join(limit.endpoints.allow) or "none"
            yield f"spec.optimize.with.endpoints names {url}, which is not allowed; allowed are: {allowed}"


def _evidence(policy: OptimizationPolicy, limit: BoundarySpec) -> Iterator[str]:
    if policy.spec.alpha > limit.max_alpha:
        yield f"spec.alpha is {policy.spec.alpha:g}, allowed is {limit.max_alpha:g}"
    watched = {guardrail.metric: guardrail.margin for guardrail in policy.spec.guardrails}
    for budget in limit.budgets:
        margin = watched.get(budget.metric)
        if margin is None:
            yield f"spec.guardrails does not watch {budget.metric}; add it with at most {budget.margin}"
        elif margin.absolute != budget.margin.absolute:
            unit = "percentage points" if budget.margin.absolute else "percent"
            yield f"the guardrail on {budget.metric} must be in {unit}, at most {budget.margin}"
        elif margin.value > budget.margin.value + _ROUNDING:
            yield f"the guardrail on {budget.metric} tolerates {margin}, allowed is {budget.margin}"


def capped(allocation: Allocation, boundaries: Sequence[SafetyBoundary]) -> Allocation:
    """Return an allocation with treatment no larger than the strictest boundary allows; baseline stays."""
    most = min((boundary.spec.max_exposure for boundary in boundaries), default=1.0)
    return Allocation(min(allocation.treatment, most), allocation.baseline, allocation.start)
