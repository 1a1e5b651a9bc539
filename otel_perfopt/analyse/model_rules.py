"""What lighter or better spaced model calls would have saved: a `RunView` in, `WhatIf`s in time out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.refused_calls import refusals
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER, model_of
from otel_perfopt.analyse.what_if import LATENCY, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.execution.model import StepKind, Target
from otel_perfopt.execution.schedule import Changes
from otel_perfopt.measure.sketch import QuantileSketch

MIN_CALLS = 20
MIN_OUTPUT = 20


class EffortRoutingRule(PlainRule):
    """Nobody thinks at all: what less effort could save at the very most, with answers as good as before."""

    optimization = "effort_routing"
    metric = LATENCY
    upper_bound = True

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        thinking = run.execution.of_kind(StepKind.THINKING)
        if not thinking:
            return ()
        inside = {step.parent_span_id for step in thinking}
        changes = Changes(durations_ns={step.span_id: 0 for step in thinking})
        bound = run.waited_ns((*thinking, *(step for step in run.inferences if step.span_id in inside)))
        waited = run.waited_ns(thinking)
        return (WhatIf(Target(command=run.execution.command.name), changes, bound, thinking, saved_ns=waited),)


class ModelRoutingRule(PlainRule):
    """Every call is answered as fast as the fastest model that these runs used writes its tokens.

    A bound: whether that model's answers would have done is for `allocation` and a trial to say.
    Speeds are medians over the calls seen before (twenty at least).
    """

    optimization = "model_routing"
    metric = LATENCY
    upper_bound = True

    def __init__(self) -> None:
        self._speeds: BoundedTable[str, QuantileSketch] = BoundedTable(QuantileSketch, overflow=OTHER, limit=100)

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for each model of the run that is not the fastest."""
        speeds = self._known()
        found = [self._what_if(run, model, speeds) for model in sorted({model_of(step) for step in run.inferences})]
        if run.execution.timed:
            for step in run.inferences:
                if step.error_type is None and (step.tokens.output or 0) >= MIN_OUTPUT and step.duration_s > 0:
                    self._speeds[model_of(step)].add((step.tokens.output or 0) / step.duration_s)
        return [what_if for what_if in found if what_if is not None]

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return the fastest model, as far as is known now."""
        del target
        speeds = self._known()
        return {"model": max(speeds, key=lambda name: (speeds[name], name))} if speeds else {}

    def _known(self) -> dict[str, float]:
        return {
            model: speed
            for model, sketch in self._speeds.rows.items()
            if sketch.count >= MIN_CALLS and (speed := sketch.quantile(0.5))
        }

    @staticmethod
    def _what_if(run: RunView, model: str, speeds: Mapping[str, float]) -> WhatIf | None:
        fastest = max(speeds.values(), default=0.0)
        if len(speeds) < 2 or model not in speeds or speeds[model] >= fastest:
            return None
        calls = tuple(step for step in run.inferences if model_of(step) == model)
        ratio = speeds[model] / fastest
        changes = Changes(durations_ns={step.span_id: round((step.end_ns - step.start_ns) * ratio) for step in calls})
        return WhatIf(Target(command=run.execution.command.name, model=model), changes, run.waited_ns(calls), calls)


class AdaptiveConcurrencyRule(PlainRule):
    """No call is refused for its rate, and nobody backs off: what spacing calls could save at the very most.

    A bound, because a call that is held back waits as well, if for less long than after a refusal.
    """

    optimization = "adaptive_concurrency"
    metric = LATENCY
    upper_bound = True

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for each target of the run that refused calls."""
        refused = run.derive(refusals)
        command = run.execution.command.name
        found: list[WhatIf] = []
        for target in dict.fromkeys(refusal.target for refusal in refused):
            own = [refusal for refusal in refused if refusal.target == target and refusal.next_call is not None]
            # The refused call counts as far as the run waited on it, and the pause behind it whole.
            lost = sum(
                run.critical_ns.get(refusal.step.span_id, 0)
                + refusal.lost_ns
                - max(0, refusal.step.end_ns - refusal.step.start_ns)
                for refusal in own
            )
            where = Target(command=command, tool=target.tool, model=target.model)
            steps = tuple(refusal.step for refusal in own)
            if steps:
                found.append(WhatIf(where, calls=steps, bound_ns=lost, saved_ns=lost))
        return found
