"""Which findings come first: findings in any order in, ranked by predicted saving and marked where they overlap out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from otel_perfopt.analyse.finding import Finding, Suggestion
from otel_perfopt.execution.model import Target

# What a finding promises: a predicted saving, a pattern with a size, a bound that needs luck.
_PREDICTED, _OBSERVED, _BOUND = 0, 1, 2
_TIERS = {"opportunity": _PREDICTED, "upper_bound": _BOUND}
_SHARES_OF_ALL = frozenset({"latency", "input_tokens", "output_tokens", "cost_usd"})


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings, opportunities by predicted saving on top, then patterns by size, then bounds.

    Findings that would be acted on in the same way for overlapping targets name one another in
    `overlaps`: what they would save is partly the same and must not be added.
    """
    ordered = sorted(findings, key=_order)
    return tuple(replace(finding, overlaps=_overlaps(finding, ordered)) for finding in ordered)


def distinct_suggestions(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return those ranked findings whose suggestion (optimization and match) no earlier one made: one proposal each."""
    seen: set[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]]] = set()
    kept = []
    for finding in findings:
        if finding.suggestion is None:
            continue
        key = finding.suggestion.optimization, tuple(sorted(finding.suggestion.match.items()))
        if key not in seen:
            seen.add(key)
            kept.append(finding)
    return tuple(kept)


def _order(finding: Finding) -> tuple[int, int, float, str]:
    if finding.saving is not None and finding.kind in _TIERS:
        return _TIERS[finding.kind], 0, -finding.saving.estimate, finding.label
    relative = finding.effect.relative
    # Shares of time and tokens compare with one another; rates of calls or cases come after them.
    comparable = 0 if finding.effect.metric in _SHARES_OF_ALL else 1
    return _OBSERVED, comparable, -(abs(relative.estimate) if relative is not None else 0.0), finding.label


def _overlaps(finding: Finding, others: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(
        other.label
        for other in others
        if other is not finding and (other.label in finding.overlaps or _same_remedy(finding, other))
    )


def _same_remedy(one: Finding, other: Finding) -> bool:
    return (
        one.suggestion is not None
        and other.suggestion is not None
        and _acts_alike(one.suggestion, other.suggestion)
        and _may_meet(one.target, other.target)
    )


def _acts_alike(one: Suggestion, other: Suggestion) -> bool:
    return one.optimization == other.optimization


def _may_meet(one: Target, other: Target) -> bool:
    pairs = ((one.command, other.command), (one.tool, other.tool), (one.model, other.model))
    return all(not left or not right or left == right for left, right in pairs)
