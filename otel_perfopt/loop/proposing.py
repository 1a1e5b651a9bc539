"""What to propose, best first: findings and what was learned in, ranked drafts and written proposals out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from otel_perfopt.analyse.finding import Finding
from otel_perfopt.decide.implementation_plan import UNKNOWN_SIZE, ExpectedSize
from otel_perfopt.decide.learning import Candidate, Learned, Rank
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_file import LoadedPolicy
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.proposal import Proposal
from otel_perfopt.decide.refinement import refinements
from otel_perfopt.decide.trial_outcome import context_of, prediction_in
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.loop.recorded_arguments import with_recorded_arguments

SizeOf = Callable[[OptimizationPolicy], ExpectedSize]


@dataclass(frozen=True, slots=True)
class RankedDraft:
    """A proposal that could be written, and how it ranks."""

    proposal: Proposal
    rank: Rank


def candidate_of(document: Mapping[str, Any], digest: str, metric: str, optimization: str) -> Candidate:
    """Return a policy document as the learner ranks it."""
    return Candidate(
        optimization=optimization,
        context=context_of(document),
        metric=metric,
        predicted=prediction_in(document),
        digest=digest,
        parameters=dict(document["spec"]["optimize"].get("with") or {}),
    )


def candidate_of_loaded(loaded: LoadedPolicy) -> Candidate:
    """Return a declared policy as the learner ranks it."""
    spec = loaded.policy.spec
    return candidate_of(loaded.raw, loaded.digest, spec.goal.metric, spec.optimize.type)


def ranked_drafts(
    policies: PolicySet, findings: Iterable[Finding], learned: Learned, now_ns: int
) -> tuple[RankedDraft, ...]:
    """Return what could be proposed for the findings, and for what ended trials suggest, best first; writes nothing."""
    given = with_recorded_arguments(findings, policies.home / TELEMETRY_FOLDER)
    drafts = policies.drafts([*given, *refinements(learned.outcomes)], now_ns)
    ranked = [RankedDraft(draft, learned.rank(_candidate(draft))) for draft in drafts]
    return tuple(sorted(ranked, key=lambda one: (-one.rank.score, one.proposal.name)))


def propose_ranked(
    policies: PolicySet,
    findings: Iterable[Finding],
    learned: Learned,
    now_ns: int,
    *,
    size_of: SizeOf = lambda _policy: UNKNOWN_SIZE,
) -> tuple[tuple[Proposal, Rank], ...]:
    """Write proposals for the findings and for what ended trials suggest, best first, each with its rank.

    Raises:
        LedgerError: as `PolicySet.propose`.
    """
    return tuple(
        (proposal, draft.rank)
        for draft in ranked_drafts(policies, findings, learned, now_ns)
        for proposal in policies.propose([draft.proposal.finding], now_ns, size_of=size_of)
    )


def _candidate(draft: Proposal) -> Candidate:
    suggestion = draft.finding.suggestion
    parameters = dict(suggestion.parameters) if suggestion is not None else {}
    match = draft.policy.spec.match
    named = {"command": list(match.command), "tool": list(match.tool), "model": list(match.model)}
    document = {"spec": {"match": named, "optimize": {"with": parameters}}}
    return Candidate(
        optimization=draft.policy.spec.optimize.type,
        context=context_of(document),
        metric=draft.metric,
        predicted=draft.predicted,
        digest=draft.digest,
        parameters=parameters,
    )
