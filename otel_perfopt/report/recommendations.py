"""The parts of a report on what to do: recommendations in, impact, prediction, plan and monitoring of each out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from otel_perfopt.analyse.analysis import Analysis, CombinedSaving
from otel_perfopt.analyse.finding import Evidence
from otel_perfopt.analyse.recommendation import Impact, Implementation, Monitor, PlanStep, Prediction, Recommendation
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.report import charts
from otel_perfopt.report.policy_plan import days_text
from otel_perfopt.report.section import Entry, Section, Table
from otel_perfopt.report.wording import count, share, share_interval

_METRIC_WORDS = {"latency": "run time"}


def recommendations(analysis: Analysis) -> Section | None:
    """What to do, best first: whom it touches, what it should bring, how to bring it in and what to watch."""
    if not analysis.recommendations:
        return None
    return Section(
        "What to do",
        ("Best first. Nothing here is in force: perfopt propose writes policies, and a person approves each.",),
        entries=tuple(_entry(item) for item in analysis.recommendations),
    )


def together(analysis: Analysis) -> Section | None:
    """What all predicted optimizations save together, by metric, each beyond those before it."""
    if not analysis.combined:
        return None
    rows = tuple(
        (metric_words(saving.metric), part.optimization, str(part.target), share_interval(part.share))
        for saving in analysis.combined
        for part in saving.parts
    )
    drawn = tuple(charts.combined(saving, metric_words(saving.metric)) for saving in analysis.combined)
    return Section(
        "What all of it would save together",
        (
            *(_sum(saving) for saving in analysis.combined),
            "Each part is what an optimization saves beyond those above it, so nothing is counted twice.",
        ),
        tables=(Table(("of", "optimization", "where", "adds"), rows, frozenset({"adds"})),),
        charts=tuple(chart for chart in drawn if chart is not None),
    )


def metric_words(metric: str) -> str:
    """Write a metric as people say it."""
    return _METRIC_WORDS.get(metric, metric.replace("_", " "))


def _sum(saving: CombinedSaving) -> str:
    return f"Together {share_interval(saving.share)} of all {metric_words(saving.metric)}."


def _entry(item: Recommendation) -> Entry:
    return Entry(
        title=item.title,
        value=_size(item.prediction),
        text=item.reason,
        facts=tuple(_facts(item)),
        folded=tuple(_folded(item)),
        places=tuple(place(found) for found in item.evidence),
        notes=() if item.implementation.optimization in OPTIMIZATION_TYPES else ("planned: not there yet",),
    )


def _size(prediction: Prediction) -> str:
    if prediction.share is None:
        return ""
    bound = "at most " if prediction.upper_bound else ""
    return f"{bound}{share_interval(prediction.share)} of {metric_words(prediction.metric)}"


def _facts(item: Recommendation) -> Iterator[tuple[str, str]]:
    yield "impact", _impact(item.impact)
    yield "risk", " ".join(item.impact.risks)
    yield "prediction", _prediction(item.prediction)


def _folded(item: Recommendation) -> Iterator[tuple[str, str]]:
    yield "policy", _policy(item.implementation)
    yield "plan", _plan(item.implementation)
    yield "watch", "\n".join(_monitor(one) for one in item.monitoring)
    yield "answers", "; ".join(item.findings)


def _impact(impact: Impact) -> str:
    of_all = f" ({share(impact.share_of_runs)} of all)" if impact.share_of_runs is not None else ""
    daily = f", {count(impact.runs_a_day)} a day" if impact.runs_a_day is not None else ""
    return f"touches {_named(impact.touches)}: {count(impact.runs)} runs{of_all}{daily}"


def _prediction(prediction: Prediction) -> str:
    size = _size(prediction) or "nothing is claimed"
    bound = f"; anything of the kind: at most {share(prediction.bound)}" if prediction.bound is not None else ""
    return f"{size}{bound}. {prediction.basis[:1].upper()}{prediction.basis[1:]}."


def _policy(plan: Implementation) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in plan.parameters.items())
    return f"{plan.optimization} for {_named(plan.match)}" + (f", with {settings}" if settings else "")


def _plan(plan: Implementation) -> str:
    steps = "\n".join(f"{number}. {_step(step)}" for number, step in enumerate(plan.steps, 1))
    if plan.expected_units is None:
        return steps
    days = f", {days_text(plan.expected_days)} at the present load" if plan.expected_days is not None else ""
    return f"{steps}\nabout {count(plan.expected_units)} units until a verdict{days}"


def _step(step: PlanStep) -> str:
    exposed = f" ({share(step.exposure)} of units)" if step.exposure else ""
    return f"{step.what}{exposed}, until {step.until}" if step.until else f"{step.what}{exposed}"


def _monitor(one: Monitor) -> str:
    return f"{one.metric}: {one.alert} when {one.when}"


def _named(match: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{word} {name}" for word, names in match.items() for name in names) or "everything"


def place(found: Evidence) -> str:
    """Write where to look and what is there."""
    return f"{found.location or found.trace_id}  {found.note}".strip()
