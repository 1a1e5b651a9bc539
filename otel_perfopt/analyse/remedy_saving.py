"""What patterns are worth: findings and replayed opportunities in, findings with their predicted saving out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from otel_perfopt.analyse.analysis import Opportunity
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.wording import percent
from otel_perfopt.execution.model import Target

WORTH_IT = 0.005


def with_savings(findings: Iterable[Finding], opportunities: Sequence[Opportunity], *, replayed: bool) -> list[Finding]:
    """Give every pattern the saving that the replay of its remedy predicts.

    A remedy that would surely save less than half a per cent is not suggested: the pattern stays,
    and says so. `replayed` tells whether any run had a clock; without one nothing is priced.
    """
    known = {(item.optimization, item.target): item for item in opportunities if not item.upper_bound}
    optimizations = {optimization for optimization, _ in known}
    return [_priced(finding, known, optimizations) if replayed else finding for finding in findings]


def _priced(finding: Finding, known: dict[tuple[str, Target], Opportunity], optimizations: set[str]) -> Finding:
    suggestion = finding.suggestion
    if suggestion is None or finding.saving is not None or suggestion.optimization not in optimizations:
        return finding
    found = known.get((suggestion.optimization, finding.target))
    if found is None or found.share is None:
        return finding
    if found.share.high >= WORTH_IT:
        return replace(finding, saving=found.share)
    summary = f"{finding.summary} Replayed, {suggestion.optimization} would save only {percent(found.share.estimate)} of all time."
    return replace(finding, saving=found.share, suggestion=None, summary=summary)
