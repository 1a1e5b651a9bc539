"""A verdict in words: a look at a comparison in, the `Verdict` with counts, intervals and reasons out."""

from __future__ import annotations

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.verify.criterion import GOAL, Criterion
from otel_perfopt.verify.evidence import e_value
from otel_perfopt.verify.failure_eprocess import log_e_mismatch, ratio_interval
from otel_perfopt.verify.look import Look
from otel_perfopt.verify.metric_kind import FAULT
from otel_perfopt.verify.verdict import Conclusion, MetricResult, Verdict


def verdict(look: Look) -> Verdict:
    """Return what `look` says, with each metric's part in it."""
    conclusion = look.conclusion
    pairs = zip(look.criteria, look.harmed, strict=True)
    results = tuple(_result(look, criterion, harmed=harmed) for criterion, harmed in pairs)
    ratio = _sample_ratio(look)
    treatment, baseline = look.units
    return Verdict(
        decision=look.decision,
        conclusion=conclusion,
        reason=_reason(look, conclusion, results, ratio),
        treatment_units=treatment,
        baseline_units=baseline,
        metrics=(*results, ratio),
        would_change=_would_change(look, conclusion, results, ratio),
        left_out=dict(look.left_out),
    )


def _result(look: Look, criterion: Criterion, *, harmed: bool) -> MetricResult:
    alpha = look.plan.alpha
    held = criterion.satisfied(alpha)
    effect = criterion.test.interval(alpha, benefit=True) or criterion.test.interval(alpha, benefit=False)
    log_e = criterion.log_e_harm()
    treatment, baseline = criterion.test.counts
    conclusion = Conclusion.WORSE if harmed else Conclusion.BETTER if held else Conclusion.WAITING
    return MetricResult(
        metric=criterion.metric,
        role=criterion.role,
        conclusion=conclusion,
        reason=_metric_reason(criterion, effect, conclusion),
        effect=effect,
        harmed=harmed,
        held=held,
        e_value=None if log_e is None else e_value(log_e),
        threshold=None if log_e is None else 1.0 / look.harm_alpha,
        absolute=criterion.test.absolute,
        limit=criterion.benefit_limit,
        treatment_units=treatment,
        baseline_units=baseline,
    )


def _sample_ratio(look: Look) -> MetricResult:
    treatment, baseline = look.units
    alpha = look.plan.sample_ratio_alpha
    mismatch = look.mismatch
    declared = sorted({stratum.allocation for stratum in look.enrolments.by_stratum})
    shares = ", ".join(f"{share:.0%}" for share in declared) or "none"
    found = ratio_interval(look.enrolments, alpha)
    return MetricResult(
        metric="sample_ratio",
        role="sample_ratio",
        conclusion=Conclusion.WORSE if mismatch else Conclusion.BETTER if treatment + baseline else Conclusion.WAITING,
        reason=f"{treatment} treatment and {baseline} baseline units, declared share of treatment {shares}"
        + (": they do not arrive as allocated" if mismatch else ""),
        effect=found and Interval(found.estimate - 1, found.low - 1, found.high - 1, found.level),
        harmed=mismatch,
        held=not mismatch,
        e_value=e_value(log_e_mismatch(look.enrolments)),
        threshold=1.0 / alpha,
        treatment_units=treatment,
        baseline_units=baseline,
    )


def _metric_reason(criterion: Criterion, effect: Interval | None, conclusion: Conclusion) -> str:
    if criterion.metric == FAULT:
        return _fault_reason(criterion)
    asked = _change(criterion, criterion.benefit_limit)
    seen = f"{criterion.metric} {_interval(criterion, effect) if effect else 'not enough data'}{_events(criterion)}"
    if conclusion is Conclusion.WORSE:
        return f"{seen}: shown to be worse than {_change(criterion, criterion.harm_limit)}"
    if criterion.role == GOAL:
        return f"{seen}: {'reaches' if conclusion is Conclusion.BETTER else 'does not clear'} the {asked} asked for"
    relation = "within" if conclusion is Conclusion.BETTER else "not yet shown to be within"
    return f"{seen}: {relation} the {asked} tolerated"


def _events(criterion: Criterion) -> str:
    if criterion.outcomes is None:
        return ""
    ours, theirs, units_t, units_c = criterion.outcomes.totals
    return f", {ours} of {units_t} against {theirs} of {units_c}"


def _fault_reason(criterion: Criterion) -> str:
    faulted = getattr(criterion.test, "faulted", 0)
    return f"{faulted} treatment units with a fault of ours, {criterion.benefit_limit:g} tolerated"


def _reason(look: Look, conclusion: Conclusion, results: tuple[MetricResult, ...], ratio: MetricResult) -> str:
    treatment, baseline = look.units
    counts = f"{treatment} treatment and {baseline} baseline units"
    if conclusion is Conclusion.WORSE:
        return f"{'; '.join(result.reason for result in results if result.harmed)} ({counts})."
    if conclusion is Conclusion.BETTER:
        return f"{results[0].reason}, {len(results) - 1} guardrails held ({counts})."
    if treatment + baseline == 0:
        return "No unit has been seen yet."
    missing = "; ".join(_missing(look, results, ratio))
    if conclusion is Conclusion.INCONCLUSIVE:
        return f"The limit was reached without a verdict: {missing} ({counts})."
    return f"Not shown yet: {missing} ({counts})."


def _missing(look: Look, results: tuple[MetricResult, ...], ratio: MetricResult) -> list[str]:
    missing = [result.reason for result in results if not result.held]
    if ratio.harmed:
        missing.append(ratio.reason)
    if sum(look.units) < look.plan.min_units:
        missing.append(f"fewer than {look.plan.min_units} units")
    return missing


def _would_change(look: Look, conclusion: Conclusion, results: tuple[MetricResult, ...], ratio: MetricResult) -> str:
    plan = look.plan
    if conclusion is Conclusion.WORSE:
        return "Nothing in this trial: treatment ends; a new digest or an explicit retry starts another."
    if conclusion is Conclusion.BETTER:
        return "Shown harm, now or in the hold-back."
    if ratio.harmed:
        return "Units arriving as allocated: find what loses or adds units in one arm, then start anew."
    missing = [one for one, result in zip(look.criteria, results, strict=True) if not result.held]
    means = (
        f" (means need {plan.min_units_each} in each arm of a balanced stage)" if any(c.means for c in missing) else ""
    )
    needs = ", ".join(criterion.metric for criterion in missing)
    text = f"More units that show {needs}{means}" if needs else f"{plan.min_units} units in all"
    if conclusion is Conclusion.INCONCLUSIVE:
        return f"{text}: a person extends the limits, retries or retires."
    if look.holds_back:
        return f"{text}; it stays active as long as the hold-back shows no harm."
    left = max(0, plan.max_units - sum(look.units))
    return f"{text}; at the latest the limit, {left} units or {plan.max_duration_s / 86_400:g} days from the start."


def _interval(criterion: Criterion, effect: Interval) -> str:
    estimate, low, high = (_change(criterion, end) for end in (effect.estimate, effect.low, effect.high))
    return f"{estimate} ({low} to {high})"


def _change(criterion: Criterion, value: float) -> str:
    if not criterion.test.absolute:
        text = "any increase" if value > 99.0 else f"{value * 100:+.1f} %"
    elif criterion.outcomes is not None:
        text = f"{value * 100:+.1f} points"
    else:
        text = f"{value:+.3g}"
    return text.replace("-", "−")
