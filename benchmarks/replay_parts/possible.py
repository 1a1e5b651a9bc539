"""What could be saved at best: runs in, by optimization the what-if's own saving and its bound as shares out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from otel_perfopt.analyse.combined_saving import saved_by
from otel_perfopt.analyse.opportunity import RULES
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.what_if import INPUT_TOKENS, LATENCY
from otel_perfopt.execution.model import Execution, ToolEffects
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.execution.schedule import Changes

ALL_TOOLS = "all tools"


@dataclass
class Possible:
    """Of one optimization: what its rule foretells and the most that anything of its kind could save, as shares.

    Shares are of all runs' time or of all input tokens, None where the source has no clock; `calls` are those that
    the rule would have helped, `most` those that there are of the kind.
    """

    metric: str = LATENCY
    foretold: float | None = None
    bound: float | None = None
    calls: int = 0


def possible(runs: Sequence[Execution]) -> dict[str, Possible]:
    """Return what each rule says of the runs, each shown once and in order; `all tools`: every read for nothing."""
    rules = [rule for rule in (make() for make in RULES) if not rule.upper_bound]
    found: dict[str, Possible] = defaultdict(Possible)
    wholes, repetitions = {LATENCY: 0.0, INPUT_TOKENS: 0.0}, Repetitions()
    saved: dict[str, float] = defaultdict(float)
    bounds: dict[str, float] = defaultdict(float)
    for run in runs:
        view = RunView(run)
        view.repetition = repetitions.observe(run)
        wholes[LATENCY] += run.duration_s if run.timed else 0.0
        wholes[INPUT_TOKENS] += view.tokens.input or 0
        for rule in rules:
            for what_if in rule.imagine(view):
                found[rule.optimization].metric = rule.metric
                found[rule.optimization].calls += len(what_if.calls)
                if run.timed or rule.metric != LATENCY:
                    saved[rule.optimization] += saved_by(view, what_if, rule.metric) if what_if.calls else 0.0
                    latency = rule.metric == LATENCY
                    bounds[rule.optimization] += what_if.bound_ns / 1e9 if latency else what_if.bound_tokens
        if run.timed:
            reads = [step for step in view.tools if step.effects is ToolEffects.READ]
            free = Changes(durations_ns={step.span_id: 0 for step in reads})
            bounds[ALL_TOOLS] += view.replay(free).saved_ns / 1e9 if reads else 0.0
    found[ALL_TOOLS].calls += 0
    for name, of in found.items():
        whole = wholes[of.metric]
        if whole:
            of.foretold, of.bound = saved[name] / whole, min(1.0, bounds[name] / whole)
    return dict(found)
