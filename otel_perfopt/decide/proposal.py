"""What could be done about a finding: a finding and the policies there are in, a new policy file's text out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any

from otel_perfopt.analyse.finding import Finding, Interval, Suggestion
from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.decide.document import parse_documents
from otel_perfopt.decide.field_problem import check_document
from otel_perfopt.decide.glob import lists_meet
from otel_perfopt.decide.implementation_plan import UNKNOWN_SIZE, ExpectedSize
from otel_perfopt.decide.model_base import LONGEST_NAME
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.proposal_text import document_text, proposal_text
from otel_perfopt.decide.refinement import REFINEMENT, TUNABLES
from otel_perfopt.decide.rollout import METRICS
from otel_perfopt.errors import InvalidFileError

PROPOSAL_FOLDER = "policies/proposed"
_SLUG = re.compile(r"[^a-z0-9]+")
_HASH_LENGTH = 6
# What findings measure, as policies' goals name it.
_GOALS = {"input_tokens": "tokens", "output_tokens": "tokens"}
_MOST_NAMES = 50


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy that would act on a finding, not yet written.

    `file` is relative to the home folder; `predicted` is the share of `metric` it should save, None
    when that is not known; `size` is how many units and days a verdict should need, as far as somebody said.
    """

    name: str
    file: str
    text: str
    digest: str
    policy: OptimizationPolicy
    finding: Finding
    metric: str
    predicted: Interval | None
    risk: str
    size: ExpectedSize = UNKNOWN_SIZE


def propose(
    finding: Finding,
    now_ns: int,
    existing: Iterable[OptimizationPolicy],
    *,
    taken: Iterable[str] = (),
    rollout: Mapping[str, Any] | None = None,
    guardrails: Sequence[Mapping[str, Any]] | None = None,
    size: ExpectedSize = UNKNOWN_SIZE,
) -> Proposal | None:
    """Return a proposal that acts on a finding; None where no optimization is known or a policy answers it.

    `existing` are all policies there are, `taken` further names not to use; `rollout` and `guardrails`
    are written into the policy as they are, in place of the defaults.

    Raises:
        InvalidFileError: the suggestion makes no valid policy, such as with an unknown parameter.
    """
    policies = list(existing)
    suggestion = finding.suggestion
    if suggestion is None or suggestion.optimization not in OPTIMIZATION_TYPES or answered(suggestion, policies):
        return None
    if not all(suggestion.parameters.get(word) for word in OPTIMIZATION_TYPES[suggestion.optimization].needs):
        return None
    name = _free_name(finding, {policy.name for policy in policies} | set(taken))
    metric = _GOALS.get(finding.effect.metric, finding.effect.metric)
    metric = metric if metric in METRICS else "latency"
    predicted = predicted_saving(finding)
    document = _document(
        finding,
        suggestion,
        name=name,
        metric=metric,
        predicted=predicted,
        rollout=rollout,
        guardrails=guardrails,
        size=size,
    )
    kind = OPTIMIZATION_TYPES[suggestion.optimization]
    day = datetime.fromtimestamp(now_ns / 1e9, tz=timezone.utc).date()
    file = f"{PROPOSAL_FOLDER}/{name}.yaml"
    policy = _read_back(document_text(document), file)
    text = proposal_text(document, policy, finding, predicted, day=day, size=size)
    _read_back(text, file)
    return Proposal(
        name=name,
        file=file,
        text=text,
        digest=policy_digest(policy),
        policy=policy,
        finding=finding,
        metric=metric,
        predicted=predicted,
        risk=kind.risk,
        size=size,
    )


def materially_larger(before: Interval | None, now: Interval | None) -> bool:
    """Tell whether a prediction is surely larger than the one before: worth telling again what was told once."""
    if now is None:
        return False
    return now.low > 0.0 if before is None else now.low > before.high


def answered(suggestion: Suggestion, policies: Iterable[OptimizationPolicy]) -> bool:
    """Tell whether one of the policies already does the same to some of the same calls, in whatever mode."""
    return any(
        policy.spec.optimize.type == suggestion.optimization
        and all(
            lists_meet(getattr(policy.spec.match, field), suggestion.match.get(field, ()))
            for field in ("command", "tool", "model")
        )
        for policy in policies
    )


def proposal_name(finding: Finding) -> str:
    """Return the name a finding's policy has: the same each time it is found."""
    suggestion = finding.suggestion
    target = finding.target
    parts = [target.command, target.tool, target.model, suggestion.optimization if suggestion else finding.kind]
    if suggestion is not None and finding.kind == REFINEMENT:
        word = TUNABLES[suggestion.optimization].word
        parts.append(f"{word}-{suggestion.parameters.get(word)}")
    whole = "-".join(part for part in parts if part)
    slug = _SLUG.sub("-", whole.lower()).strip("-")
    if whole.isascii() and len(slug) <= LONGEST_NAME - 3:
        return slug
    mark = sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    return f"{slug[: LONGEST_NAME - _HASH_LENGTH - 4].strip('-') or 'policy'}-{mark}"


def _free_name(finding: Finding, taken: set[str]) -> str:
    base = proposal_name(finding)
    names = [base, *(f"{base}-{number}" for number in range(2, _MOST_NAMES))]
    return next((name for name in names if name not in taken), names[-1])


def _document(
    finding: Finding,
    suggestion: Suggestion,
    *,
    name: str,
    metric: str,
    predicted: Interval | None,
    rollout: Mapping[str, Any] | None,
    guardrails: Sequence[Mapping[str, Any]] | None,
    size: ExpectedSize,
) -> dict[str, Any]:
    match = {field: list(patterns) for field, patterns in suggestion.match.items() if patterns} or {"command": ["*"]}
    optimize: dict[str, Any] = {"type": suggestion.optimization}
    if suggestion.parameters:
        optimize["with"] = {key: _plain(value) for key, value in suggestion.parameters.items()}
    goal: dict[str, Any] = {"metric": metric}
    if not suggestion.when and _worth_asking(finding, predicted):
        goal["improve"] = f"{_worth_asking(finding, predicted)}%"
    spec: dict[str, Any] = {"match": match, "optimize": optimize}
    if suggestion.when:
        spec = {"when": dict(suggestion.when), **spec}
    if rollout is not None:
        spec["rollout"] = dict(rollout)
    spec["goal"] = goal
    if guardrails is not None:
        spec["guardrails"] = [dict(guardrail) for guardrail in guardrails]
    annotations = {"perfopt.dev/finding": finding.label[:400], "perfopt.dev/predicted-metric": metric}
    if predicted is not None:
        annotations["perfopt.dev/predicted"] = f"{predicted.estimate:.4g}"
        annotations["perfopt.dev/predicted-low"] = f"{predicted.low:.4g}"
        annotations["perfopt.dev/predicted-high"] = f"{predicted.high:.4g}"
    traces = " ".join(dict.fromkeys(item.trace_id for item in finding.evidence if item.trace_id))
    told = {
        "evidence": traces[:400].rpartition(" ")[0] if len(traces) > 400 else traces,
        "expected-units": "" if size.units is None else str(size.units),
        "expected-days": "" if size.days is None else f"{size.days:.3g}",
    }
    annotations |= {f"perfopt.dev/{key}": value for key, value in told.items() if value}
    return {
        "apiVersion": "perfopt.dev/v1",
        "kind": "OptimizationPolicy",
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


def predicted_saving(finding: Finding) -> Interval | None:
    """Return the share that the policy's own units should save: of their metric, not of everybody's."""
    return finding.effect.relative if finding.effect.metric in METRICS else finding.saving


def _worth_asking(finding: Finding, predicted: Interval | None) -> int:
    """Return the improvement in whole per cent that the goal asks for: half of what is surely there."""
    lows = [interval.low for interval in (predicted, finding.effect.relative) if interval is not None]
    return int(min(max(min(lows, default=0.0), 0.0), 0.9) * 50)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple, set, frozenset)) else value


def _read_back(text: str, file: str) -> OptimizationPolicy:
    documents, problems = parse_documents(text.encode("utf-8", "surrogatepass"), file)
    if not problems and len(documents) == 1:
        policy, problems = check_document(documents[0], OptimizationPolicy)
        if policy is not None:
            return policy
    raise InvalidFileError(tuple(problems))
