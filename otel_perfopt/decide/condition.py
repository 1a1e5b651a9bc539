"""Whether a policy's `when` is met: the condition and the present findings in, yes, no or nobody knows out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.decide.policy import MatchSpec, OptimizationPolicy, When


def when_met(policy: OptimizationPolicy, findings: Sequence[Finding] | None, now_ns: int) -> bool | None:
    """Tell whether the condition of a policy is met; True when it has none.

    `findings` None means that there was no analysis: nobody knows, and the policy stays as it is. A
    finding whose effect is not known does not decide either.
    """
    when = policy.spec.when
    if when is None:
        return True
    # What is measured right now is for the controller to say (`loop/live_watch.py`).
    if findings is None or when.live is not None:
        return None
    answers = [_met(when, finding, now_ns) for finding in findings if _speaks_of(policy, finding)]
    if True in answers:
        return True
    return None if None in answers else False


def deciding_finding(policy: OptimizationPolicy, findings: Iterable[Finding], now_ns: int) -> Finding | None:
    """Return the first finding that meets a policy's condition."""
    when = policy.spec.when
    if when is None:
        return None
    return next((item for item in findings if _speaks_of(policy, item) and _met(when, item, now_ns)), None)


def _speaks_of(policy: OptimizationPolicy, finding: Finding) -> bool:
    when = policy.spec.when
    if when is None or when.live is not None or finding.kind != when.finding:
        return False
    return when.metric in {None, finding.effect.metric} and target_matches(policy.spec.match, finding)


def target_matches(match: MatchSpec, finding: Finding) -> bool:
    """Tell whether a finding's target may be among what a policy matches; an unnamed target is everything."""
    target = finding.target
    pairs = ((match.command, target.command), (match.tool, target.tool), (match.model, target.model))
    return all(
        not patterns or not name or any(fnmatchcase(name, pattern) for pattern in patterns) for patterns, name in pairs
    )


def _met(when: When, finding: Finding, now_ns: int) -> bool | None:
    kind = FINDING_KINDS.get(finding.kind)
    if when.ahead_s is not None or (kind is not None and kind.ahead):
        start_ns, end_ns = finding.window_ns
        if not start_ns - int((when.ahead_s or 0.0) * 1e9) <= now_ns < end_ns:
            return False
    if when.at_least is None:
        return True
    effect = finding.effect.relative
    return None if effect is None else abs(effect.estimate) >= when.at_least
