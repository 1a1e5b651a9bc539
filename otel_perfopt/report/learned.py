"""What was learned, for people and programs: `Learned` in, rich tables or plain JSON data out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.learning import FEATURES, Learned, LearnedEffect
from otel_perfopt.decide.refinement import refinements
from otel_perfopt.decide.trial_outcome import TrialOutcome
from otel_perfopt.report.wording import UNKNOWN, clock, factor, share, share_interval


def learned_text(learned: Learned) -> RenderableType:
    """Return effects by context, how good predictions were, what users felt, and what failed and why."""
    if not learned.outcomes:
        return Text("nothing yet: no roll-out has ended")
    parts: list[RenderableType] = [_effects(learned.effects()), _calibration(learned)]
    impact = _impact(learned.outcomes)
    parts += [impact] if impact.row_count else []
    parts += [_outcomes(learned.outcomes)]
    parts += [Text(f"worth a trial: {finding.summary}") for finding in refinements(learned.outcomes)]
    return Group(*parts)


def learned_data(learned: Learned) -> dict[str, Any]:
    """Return the same as plain JSON data, with effects by each feature of the context too."""
    types = sorted({outcome.optimization for outcome in learned.outcomes})
    return {
        "format": "perfopt.learned.report",
        "version": 1,
        "effects": [asdict(effect) for effect in learned.effects()],
        "by_feature": {word: [asdict(effect) for effect in learned.effects_by(word)] for word in FEATURES},
        "unseen": {kind: _plain(learned.unseen(kind)) for kind in types},
        "calibration": {"all": _plain(learned.calibration()), **{k: _plain(learned.calibration(k)) for k in types}},
        "outcomes": [asdict(outcome) for outcome in learned.outcomes],
        "refinements": [finding.summary for finding in refinements(learned.outcomes)],
    }


def _plain(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else asdict(interval)


def _effects(effects: Sequence[LearnedEffect]) -> Table:
    table = Table("does", "where", "tried", "kept", "saves (shrunk)", title="Effects by context", header_style="bold")
    for effect in effects:
        saved = f"{effect.metric} {share_interval(effect.saved)}" if effect.saved else UNKNOWN
        cells = (effect.optimization, effect.context, str(effect.trials), str(effect.succeeded), saved)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _calibration(learned: Learned) -> Table:
    table = Table("does", "realised / predicted", "in a new place", title="Predictions", header_style="bold")
    for kind in sorted({outcome.optimization for outcome in learned.outcomes}):
        table.add_row(kind, _ratio(learned.calibration(kind)), share_interval(learned.unseen(kind)))
    table.add_row("all", _ratio(learned.calibration()), "")
    return table


def _ratio(interval: Interval | None) -> str:
    if interval is None:
        return UNKNOWN
    return f"{factor(interval.estimate)} ({factor(interval.low)} to {factor(interval.high)})"


def _impact(outcomes: Sequence[TrialOutcome]) -> Table:
    columns = ("policy", "users", "measure", "treated", "not treated")
    table = Table(*columns, title="What users felt (descriptive)", header_style="bold")
    for outcome in outcomes:
        for segment, arms in outcome.user_impact.items():
            treatment, baseline = arms.get("treatment", {}), arms.get("baseline", {})
            for measure in ("satisfaction", "interrupted", "completion"):
                if measure in treatment and measure in baseline:
                    values = (share(treatment[measure]), share(baseline[measure]))
                    table.add_row(*(Text(cell) for cell in (outcome.policy, segment, measure, *values)))
    return table


def _outcomes(outcomes: Sequence[TrialOutcome]) -> Table:
    columns = ("ended (UTC)", "policy", "how", "predicted", "realised", "why")
    table = Table(*columns, title="Ended roll-outs", header_style="bold")
    for outcome in outcomes:
        predicted, realised = share_interval(outcome.predicted), share_interval(outcome.realised)
        cells = (clock(outcome.time_ns), outcome.policy, outcome.end, predicted, realised, outcome.reason)
        table.add_row(*(Text(cell) for cell in cells))
    return table
