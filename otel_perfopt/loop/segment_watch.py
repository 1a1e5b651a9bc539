"""Whom a policy makes less satisfied: standings in, ledger entries by which it stands down for those people out.

Each preference is a segment of the policy's own randomised trial, compared by the same tests as the whole:
satisfaction first, the policy's guardrails beside it, alpha shared among the segments. Of two approved
variants that compete for a segment the one surely liked less stands down there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.segment_stand_down import stand_down_entry, stood_down
from otel_perfopt.loop.observatory import Standing
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.signal.preference import PREFERENCES
from otel_perfopt.verify.comparison import compare
from otel_perfopt.verify.comparison_plan import ComparisonPlan, Goal
from otel_perfopt.verify.metric_kind import FAULT, SATISFACTION
from otel_perfopt.verify.verdict import Conclusion, Unit, Verdict

# Segments are looked at again when something changed, but no more often than this.
EVERY_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Segment:
    """What one policy's trial says of people with one preference."""

    decision: Decision
    preference: str
    verdict: Verdict

    @property
    def satisfaction(self) -> Interval | None:
        """Treatment over baseline minus one, with its interval."""
        found = (metric.effect for metric in self.verdict.metrics if metric.metric == SATISFACTION)
        return next(found, None)


class SegmentWatch:
    """Looks at each policy's segments once in a while; what it says only ever narrows what was approved."""

    def __init__(self) -> None:
        self._looked_ns: dict[tuple[str, str], int] = {}
        self._segments: dict[tuple[str, str], tuple[Segment, ...]] = {}

    def entries(self, policies: PolicySet, standings: Mapping[str, Standing], now_ns: int) -> Sequence[LedgerEntry]:
        """Return what is to be written down now: for whom which policy stands down, and why."""
        down, fresh = stood_down(policies.ledger.entries), False
        exposed: dict[tuple[str, str], tuple[Segment, ...]] = {}
        for name, standing in standings.items():
            if standing.verdict is None or not standing.units:
                continue
            key = (name, standing.verdict.decision.digest)
            if now_ns - self._looked_ns.get(key, 0) >= EVERY_NS:
                self._looked_ns[key], fresh = now_ns, True
                self._segments[key] = tuple(_segments(policies, standing, now_ns))
            exposed[key] = self._segments.get(key, ())
        self._looked_ns = {key: looked for key, looked in self._looked_ns.items() if key in exposed}
        self._segments = exposed
        return stand_downs(exposed, down, now_ns) if fresh else ()


def segment_plan(plan: ComparisonPlan) -> ComparisonPlan:
    """Return how a segment is compared: any loss of satisfaction is harm, and the policy's guardrails hold there too."""
    kept = tuple(guard for guard in plan.guardrails if guard.metric not in (SATISFACTION, FAULT))
    return replace(plan, goal=Goal(SATISFACTION), guardrails=kept, alpha=plan.alpha / len(PREFERENCES))


def _segments(policies: PolicySet, standing: Standing, now_ns: int) -> Iterator[Segment]:
    assert standing.verdict is not None
    decision = standing.verdict.decision
    status = policies.status(decision.policy, now_ns)
    # Of a policy for people of one preference the comparison of the whole is about them.
    if len(decision.match.preference) == 1:
        return
    plan = segment_plan(comparison_plan(status.policy, status.state))
    for preference in PREFERENCES:
        units: list[Unit] = [unit for unit in standing.units if unit.preference == preference]
        if units:
            yield Segment(decision, preference, compare(decision, plan, units, now_ns))


def stand_downs(
    exposed: Mapping[tuple[str, str], Sequence[Segment]],
    down: Mapping[tuple[str, str], Sequence[str]],
    now_ns: int,
) -> list[LedgerEntry]:
    """Return an entry for each segment that harm was shown in, or that a competing variant is surely liked more by.

    `down` holds, by policy and digest, the preferences that are stood down for already.
    """
    open_segments = [
        segment
        for key, segments in exposed.items()
        for segment in segments
        if segment.preference not in down.get(key, ())
    ]
    found: dict[tuple[str, str], str] = {}
    for segment in open_segments:
        if segment.verdict.conclusion is Conclusion.WORSE:
            found[segment.decision.policy, segment.preference] = segment.verdict.reason
    for one, other in combinations(open_segments, 2):
        loser, winner = _less_liked(one, other)
        if loser is not None and winner is not None:
            reason = f"users there are surely more satisfied with {winner.decision.policy}"
            found.setdefault((loser.decision.policy, loser.preference), reason)
    decisions = {segment.decision.policy: segment.decision for segment in open_segments}
    return [
        stand_down_entry(decisions[policy], preference, f"for users who prefer {preference}: {reason}", now_ns)
        for (policy, preference), reason in found.items()
    ]


def _less_liked(one: Segment, other: Segment) -> tuple[Segment | None, Segment | None]:
    """Return which of two variants that compete for the same people is surely liked less, and the other."""
    if one.preference != other.preference or one.decision.optimization != other.decision.optimization:
        return None, None
    mine, theirs = one.satisfaction, other.satisfaction
    if mine is None or theirs is None or one.decision.policy == other.decision.policy:
        return None, None
    if mine.high < theirs.low:
        return one, other
    return (other, one) if theirs.high < mine.low else (None, None)
