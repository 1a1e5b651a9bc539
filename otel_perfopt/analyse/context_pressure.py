"""Contexts near their limit: runs in, models whose window was almost full out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.usage_table import OTHER, model_of
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import percent, tokens
from otel_perfopt.execution.model import Execution, Target

PRESSED = 0.8
MIN_CALLS_PRESSED = 3


@dataclass(slots=True)
class _Model:
    calls: int = 0
    pressed: int = 0
    runs: int = 0
    pressed_runs: int = 0
    window: float = 0.0
    highest: float = 0.0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class ContextPressure:
    """Finds models whose calls filled over 80 % of a context window that the telemetry states; unstated says nothing."""

    name = "context_pressure"

    def __init__(self, seed: int = 0) -> None:
        del seed  # proportions of calls need no draws
        self._models: BoundedTable[str, _Model] = BoundedTable(_Model, overflow=OTHER, limit=200)

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        seen: set[str] = set()
        pressed: set[str] = set()
        for step in RunView.of(execution).inferences:
            window = step.attributes.get(c.CONTEXT_WINDOW_TOKENS)
            if not isinstance(window, int | float) or window <= 0 or not step.tokens.input:
                continue
            name = model_of(step)
            model = self._models[name]
            seen.add(name)
            model.calls += 1
            model.window = float(window)
            share = step.tokens.input / window
            model.highest = max(model.highest, share)
            if share > PRESSED:
                model.pressed += 1
                pressed.add(name)
                model.evidence.add(
                    share, execution, step, f"{tokens(step.tokens.input)}, {percent(share)} of the window"
                )
        for name in seen:
            self._models[name].runs += 1
            self._models[name].pressed_runs += name in pressed

    def findings(self) -> list[Finding]:
        """Return one finding for each model under pressure."""
        return [
            Finding(
                kind="context_pressure",
                target=Target(model=name),
                summary=(
                    f"{model.pressed:,} of {model.calls:,} calls of {name} filled more than {percent(PRESSED)} of its "
                    f"window of {tokens(model.window)} (at most {percent(model.highest)})."
                ),
                detector=self.name,
                effect=Effect("calls_over_80_percent", "1", wilson(model.pressed, model.calls)),
                occurrences=model.pressed,
                runs=model.pressed_runs,
                evidence=model.evidence.kept(),
                suggestion=Suggestion("context_compression", {}, {"model": (name,)}),
            )
            for name, model in self._models.rows.items()
            if model.pressed >= MIN_CALLS_PRESSED
        ]
