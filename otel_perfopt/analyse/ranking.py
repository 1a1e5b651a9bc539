"""Which findings come first: findings in any order in, ranked by what they are worth and marked where they overlap out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from otel_perfopt.analyse.finding import Finding, Suggestion
from otel_perfopt.execution.model import Target

_SHARES_OF_ALL = frozenset({"latency", "input_tokens", "output_tokens", "cost_usd"})


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings by what acting on them is expected to save, then those that promise nothing by size.

    Findings that would be acted on in the same way for overlapping targets name one another in
    `overlaps`: what they would save is partly the same and must not be added.
    """
    ordered = sorted(findings, key=_order)
    return tuple(replace(finding, overlaps=_overlaps(finding, ordered)) for finding in ordered)


def distinct_suggestions(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return one ranked finding for each suggestion (optimization and match): one proposal each.

    Of several the one that replayed it stands for them, since its parameters are those it was replayed with.
    """
    kept: dict[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], Finding] = {}
    for finding in findings:
        if finding.suggestion is None:
            continue
        key = finding.suggestion.optimization, tuple(sorted(finding.suggestion.match.items()))
        if key not in kept or (finding.kind == "opportunity" != kept[key].kind):
            kept[key] = finding
    return tuple(kept.values())


def _order(finding: Finding) -> tuple[int, float, str]:
    if finding.worth is not None:
        return 0, -finding.worth.share.estimate, finding.label
    relative = finding.effect.relative
    # Shares of time and tokens compare with one another; rates of calls or cases come after them.
    comparable = 1 if finding.effect.metric in _SHARES_OF_ALL else 2
    return comparable, -(abs(relative.estimate) if relative is not None else 0.0), finding.label


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
