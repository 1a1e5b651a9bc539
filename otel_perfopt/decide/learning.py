"""What was learned from ended roll-outs: their outcomes in; effects by context, calibration, odds and ranks out.

It ranks what is proposed next. It never changes an allocation, a verdict or anything in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.pooling import Estimate, Pool, calibration, combined, estimate_of, pool
from otel_perfopt.decide.trial_outcome import TAKEN_BACK, Context, TrialOutcome

# How much worse things may go, by the word a type's risk begins with: what is divided by.
RISK_WEIGHTS: Mapping[str, float] = {"low": 1.0, "medium": 1.5, "high": 3.0}
FEATURES = ("command", "tool", "model", "load")
# Ours until data says otherwise: predictions are right within a factor of about 0.5 to 1.5.
_TRUST = Estimate(1.0, 0.5**2)
# A context's own record counts as much as this many outcomes of the type elsewhere.
_BORROWED = 2.0
_TAKEN_BACK_BEFORE = 0.1
_LEAST_FACTOR, _MOST_FACTOR = 0.5, 1.5


@dataclass(frozen=True, slots=True)
class LearnedEffect:
    """What a type saves in one context (or with one feature): trials, successes, and the shrunk share saved."""

    optimization: str
    metric: str
    context: str
    trials: int
    succeeded: int
    saved: Interval | None


@dataclass(frozen=True, slots=True)
class Rank:
    """How a candidate ranks: expected share saved × probability of success ÷ risk, and why."""

    score: float
    saved: Interval | None
    probability: float
    risk: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What might be done: a type, where, and the share it is predicted to save (None: nobody predicted)."""

    optimization: str
    context: Context
    metric: str = "latency"
    predicted: Interval | None = None
    digest: str = ""
    parameters: Mapping[str, object] | None = None


class Learned:
    """Everything learned from the outcomes given; quarantined digests are those that were taken back."""

    def __init__(self, outcomes: Iterable[TrialOutcome]) -> None:
        self.outcomes = tuple(outcomes)

    # --- effects ---

    def effects(self) -> tuple[LearnedEffect, ...]:
        """Return by type and metric the effect in each context tried, shrunk to what all of them say."""
        return self._grouped(lambda outcome: str(outcome.context))

    def effects_by(self, feature: str) -> tuple[LearnedEffect, ...]:
        """Return the same by one feature of the context: command, tool, model or load."""
        return self._grouped(lambda outcome: getattr(outcome.context, feature) or "unknown")

    def unseen(self, optimization: str, metric: str = "latency") -> Interval | None:
        """Return the share a type would save where nobody tried it, with its uncertainty; None without a measured trial."""
        found = self._pool(optimization, metric)
        return found[0].unseen.interval() if found is not None else None

    def expected(self, optimization: str, context: Context, metric: str = "latency") -> Interval | None:
        """Return the share a type saves in a context: shrunk where it was tried, else as in an unseen one."""
        estimate = self._estimate(optimization, context, metric)
        return estimate.interval() if estimate is not None else None

    def best_for(self, context: Context, metric: str = "latency") -> tuple[tuple[str, Rank], ...]:
        """Return every type with a measured effect, best first for this context, tried there or not."""
        types = sorted({outcome.optimization for outcome in self.outcomes})
        ranked = [(kind, self.rank(Candidate(kind, context, metric))) for kind in types]
        return tuple(sorted((pair for pair in ranked if pair[1].saved is not None), key=lambda pair: -pair[1].score))

    # --- how well we predict ---

    def calibration(self, optimization: str | None = None) -> Interval | None:
        """Return realised over predicted effect, of a type or of all; None where nothing was predicted and measured."""
        return calibration(self._pairs(optimization))

    def calibrated(self, optimization: str, predicted: Interval) -> Estimate:
        """Return a prediction as experience with the type's predictions corrects it, with the doubt that adds."""
        stated, trust = estimate_of(predicted), _TRUST
        found = self.calibration(optimization)
        if found is not None:
            reach = (found.high - found.low) / (2 * 1.96)
            trust = combined([_TRUST, Estimate(found.estimate, max(reach, 1e-3) ** 2)])
        doubt = trust.variance * stated.value**2 + trust.value**2 * stated.variance
        return Estimate(trust.value * stated.value, doubt)

    # --- odds and ranks ---

    def probability(self, optimization: str, context: Context) -> float:
        """Return the probability that a trial succeeds: Laplace's rule for the type, its context beside it."""
        of_type = [outcome for outcome in self.outcomes if outcome.optimization == optimization]
        rate = (sum(outcome.succeeded for outcome in of_type) + 1.0) / (len(of_type) + 2.0)
        here = [outcome for outcome in of_type if _same_place(outcome.context, context)]
        return (sum(outcome.succeeded for outcome in here) + _BORROWED * rate) / (len(here) + _BORROWED)

    def rank(self, candidate: Candidate) -> Rank:
        """Return how a candidate ranks, with what speaks for and against it."""
        kind = OPTIMIZATION_TYPES.get(candidate.optimization)
        risk = kind.risk.partition(":")[0] if kind is not None else "high"
        reasons = list(self._reasons(candidate))
        estimate = self._value(candidate)
        probability = self.probability(candidate.optimization, candidate.context)
        if any(_same_trial(outcome, candidate) for outcome in self._failures(candidate)):
            probability *= _TAKEN_BACK_BEFORE
        felt = self._felt(candidate.optimization)
        if felt != 1.0:
            reasons.append(f"users were {'more' if felt > 1 else 'less'} satisfied with it before")
        saved = estimate.interval() if estimate is not None else None
        worth = max(0.0, saved.estimate) if saved is not None else 0.0
        score = worth * probability * felt / RISK_WEIGHTS.get(risk, RISK_WEIGHTS["high"])
        return Rank(score, saved, probability, risk, tuple(reasons))

    def _value(self, candidate: Candidate) -> Estimate | None:
        learned = self._estimate(candidate.optimization, candidate.context, candidate.metric)
        if candidate.predicted is None:
            return learned
        own = self.calibrated(candidate.optimization, candidate.predicted)
        return own if learned is None else combined([own, learned])

    def _reasons(self, candidate: Candidate) -> Iterable[str]:
        of_type = [one for one in self.outcomes if one.optimization == candidate.optimization]
        if not of_type:
            yield f"{candidate.optimization} was never tried here"
            return
        succeeded = sum(outcome.succeeded for outcome in of_type)
        yield f"{candidate.optimization} succeeded in {succeeded} of {len(of_type)} trials"
        for outcome in self._failures(candidate)[-2:]:
            yield f"{outcome.policy} was {outcome.end}: {outcome.reason}"

    def _failures(self, candidate: Candidate) -> Sequence[TrialOutcome]:
        return [
            outcome
            for outcome in self.outcomes
            if outcome.end == TAKEN_BACK
            and outcome.optimization == candidate.optimization
            and _same_place(outcome.context, candidate.context)
        ]

    def _felt(self, optimization: str) -> float:
        """Return a factor for how satisfied users were with the type, treated against not, over all its trials."""
        changes: list[float] = [
            arms["treatment"]["satisfaction"] - arms["baseline"]["satisfaction"]
            for outcome in self.outcomes
            if outcome.optimization == optimization
            for arms in [outcome.user_impact.get("everybody", {})]
            if all("satisfaction" in arms.get(arm, {}) for arm in ("treatment", "baseline"))
        ]
        if not changes:
            return 1.0
        return min(_MOST_FACTOR, max(_LEAST_FACTOR, 1.0 + sum(changes) / len(changes)))

    # --- pooling ---

    def _pool(self, optimization: str, metric: str) -> tuple[Pool, dict[str, Estimate]] | None:
        by_context: dict[str, list[Estimate]] = {}
        for outcome in self.outcomes:
            if (outcome.optimization, outcome.metric) == (optimization, metric) and outcome.realised is not None:
                by_context.setdefault(_place(outcome.context), []).append(estimate_of(outcome.realised))
        if not by_context:
            return None
        seen = {place: combined(estimates) for place, estimates in by_context.items()}
        return pool(list(seen.values())), seen

    def _estimate(self, optimization: str, context: Context, metric: str) -> Estimate | None:
        found = self._pool(optimization, metric)
        if found is None:
            return None
        whole, seen = found
        place = _place(context)
        return whole.shrunk(seen[place]) if place in seen else whole.unseen

    def _grouped(self, word: Callable[[TrialOutcome], str]) -> tuple[LearnedEffect, ...]:
        groups: dict[tuple[str, str], dict[str, list[TrialOutcome]]] = {}
        for outcome in self.outcomes:
            contexts = groups.setdefault((outcome.optimization, outcome.metric), {})
            contexts.setdefault(word(outcome), []).append(outcome)
        found: list[LearnedEffect] = []
        for (optimization, metric), contexts in sorted(groups.items()):
            measured = {name: _measured(some) for name, some in contexts.items()}
            known = {name: estimate for name, estimate in measured.items() if estimate is not None}
            whole = pool(list(known.values())) if known else None
            for name, some in sorted(contexts.items()):
                saved = whole.shrunk(known[name]).interval() if whole is not None and name in known else None
                succeeded = sum(outcome.succeeded for outcome in some)
                found.append(LearnedEffect(optimization, metric, name, len(some), succeeded, saved))
        return tuple(found)

    def _pairs(self, optimization: str | None) -> list[tuple[Estimate, Estimate]]:
        return [
            (estimate_of(outcome.predicted), estimate_of(outcome.realised))
            for outcome in self.outcomes
            if outcome.predicted is not None and outcome.realised is not None
            if optimization in {None, outcome.optimization}
        ]


NOTHING_LEARNED = Learned(())


def _measured(outcomes: Sequence[TrialOutcome]) -> Estimate | None:
    estimates = [estimate_of(outcome.realised) for outcome in outcomes if outcome.realised is not None]
    return combined(estimates) if estimates else None


def _place(context: Context) -> str:
    return f"{context.command}\0{context.tool}\0{context.model}"


def _same_place(left: Context, right: Context) -> bool:
    return _place(left) == _place(right)


def _same_trial(outcome: TrialOutcome, candidate: Candidate) -> bool:
    if candidate.digest and outcome.digest == candidate.digest:
        return True
    return candidate.parameters is not None and dict(outcome.parameters) == dict(candidate.parameters)
