"""What patterns are worth: findings and replayed opportunities in, findings with their predicted saving out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from otel_perfopt.analyse.analysis import Opportunity
from otel_perfopt.analyse.finding import Finding, Interval
from otel_perfopt.analyse.what_if import INPUT_TOKENS, LATENCY
from otel_perfopt.analyse.wording import percent
from otel_perfopt.execution.model import Target

WORTH_IT = 0.005
_WORDS = {LATENCY: "all time", INPUT_TOKENS: "all input tokens"}
PRICED = frozenset({LATENCY, INPUT_TOKENS})


def with_savings(findings: Iterable[Finding], opportunities: Sequence[Opportunity], *, replayed: bool) -> list[Finding]:
    """Give every pattern the saving that the replay of its remedy predicts.

    A remedy that would surely save less than half a per cent is not suggested: the pattern stays,
    and says so. `replayed` tells whether any run had a clock; without one nothing is priced.
    """
    predicted = [item for item in opportunities if not item.upper_bound]
    return [_priced(finding, predicted) if replayed else finding for finding in findings]


def _priced(finding: Finding, predicted: Sequence[Opportunity]) -> Finding:
    suggestion = finding.suggestion
    if suggestion is None or finding.saving is not None:
        return finding
    # Rates of calls and cases are priced in time.
    metric = finding.effect.metric if finding.effect.metric in PRICED else LATENCY
    saving = _together(
        item.share
        for item in predicted
        if item.optimization == suggestion.optimization
        and item.metric == metric
        and _within(item.target, finding.target)
    )
    if saving is None or saving.high >= WORTH_IT:
        return replace(finding, saving=saving)
    summary = f"{finding.summary} Replayed, {suggestion.optimization} would save only {percent(saving.estimate)} of {_WORDS[metric]}."
    return replace(finding, saving=saving, suggestion=None, summary=summary)


def _within(target: Target, wider: Target) -> bool:
    """Tell whether a target is the wider one, or a part of it."""
    pairs = ((target.command, wider.command), (target.tool, wider.tool), (target.model, wider.model))
    return all(not given or name == given for name, given in pairs)


def _together(shares: Iterable[Interval | None]) -> Interval | None:
    """Add up savings of different commands; their ends are added too, which is wider than it need be."""
    known = [share for share in shares if share is not None]
    if not known:
        return None
    estimate, low, high = (sum(ends) for ends in zip(*((k.estimate, k.low, k.high) for k in known), strict=True))
    return Interval(estimate, low, high, known[0].level)
