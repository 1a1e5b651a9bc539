"""What sending calls to the fastest of several endpoints would have saved: a `RunView` in, `WhatIf`s in time out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.call_speed import MIN_CALLS, CallSpeed
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER, model_of
from otel_perfopt.analyse.what_if import LATENCY, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.execution.model import Step, Target
from otel_perfopt.execution.schedule import Changes

LATELY = 50


@dataclass(slots=True)
class _Endpoint:
    """The calls at one address: by which factor the latest differed from the model's average, and how many failed."""

    factors: deque[float] = field(default_factory=lambda: deque(maxlen=LATELY))
    calls: int = 0
    failed: int = 0

    def factor(self) -> float | None:
        return sum(self.factors) / len(self.factors) if len(self.factors) >= MIN_CALLS else None


@dataclass(slots=True)
class _Model:
    speed: CallSpeed = field(default_factory=CallSpeed)
    endpoints: dict[str, _Endpoint] = field(default_factory=dict)

    def fastest(self) -> tuple[str, float] | None:
        """Return the address whose calls took least time for their length lately; None where only one is known."""
        known = {name: factor for name, at in self.endpoints.items() if (factor := at.factor()) is not None}
        if len(known) < 2:
            return None
        name = min(known, key=lambda address: (known[address], address))
        return name, known[name]


class EndpointBalancingRule(PlainRule):
    """A call takes as long as calls of its length took lately at the fastest address that its model is served from.

    Said only where one model's calls went to several addresses, with twenty calls at each; that the
    fastest stays as fast with all the load is supposed. The bound lets each call take the shortest time
    for its length that any took lately.
    """

    optimization = "endpoint_balancing"
    metric = LATENCY

    def __init__(self) -> None:
        self._models: BoundedTable[str, _Model] = BoundedTable(_Model, overflow=OTHER, limit=100)

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for each model of the run that several addresses serve."""
        if not run.execution.timed:
            return ()
        changed: dict[str, dict[str, int]] = {}
        moved: dict[str, list[Step]] = {}
        bounds: dict[str, int] = {}
        for step in run.inferences:
            address = step.attributes.get(c.SERVER_ADDRESS)
            if not isinstance(address, str) or not address or step.duration_s <= 0:
                continue
            name = model_of(step)
            model = self._models[name]
            elsewhere = self._elsewhere_s(model, step, address)
            if elsewhere is not None:
                took_s, least_s = elsewhere
                share = 1 - min(1.0, least_s / step.duration_s)
                bounds[name] = bounds.get(name, 0) + round(run.critical_ns.get(step.span_id, 0) * share)
                if took_s != step.duration_s:
                    changed.setdefault(name, {})[step.span_id] = round(took_s * 1e9)
                    moved.setdefault(name, []).append(step)
            _observe(model, step, address)
        command = run.execution.command.name
        return [
            WhatIf(
                Target(command=command, model=name), Changes(changed.get(name, {})), bound, tuple(moved.get(name, ()))
            )
            for name, bound in bounds.items()
        ]

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return the fastest address as far as is known now; its port and path are for a person to complete."""
        fastest = self._fastest(target)
        return {} if fastest is None else {"endpoints": [f"https://{fastest}"]}

    def safe(self, target: Target) -> bool:
        """Tell whether calls at the fastest address do not surely fail more often than at the others."""
        fastest = self._fastest(target)
        if fastest is None:
            return False
        endpoints = self._models[target.model].endpoints
        others = [at for name, at in endpoints.items() if name != fastest]
        here = wilson(endpoints[fastest].failed, endpoints[fastest].calls)
        there = wilson(sum(at.failed for at in others), sum(at.calls for at in others))
        return here is not None and there is not None and here.low <= there.high

    def _fastest(self, target: Target) -> str | None:
        model = self._models.rows.get(target.model)
        found = None if model is None else model.fastest()
        return None if found is None else found[0]

    @staticmethod
    def _elsewhere_s(model: _Model, step: Step, address: str) -> tuple[float, float] | None:
        """Return how long the call takes at the fastest address, and at least; None where that is not known."""
        fastest, own = model.fastest(), model.endpoints.get(address)
        factor, expected = own.factor() if own is not None else None, model.speed.expected_s(step)
        if fastest is None or factor is None or expected is None or step.error_type is not None:
            return None
        least = min(value for at in model.endpoints.values() for value in at.factors)
        moved = step.duration_s if fastest[0] == address else step.duration_s * fastest[1] / factor
        return moved, least * expected


def _observe(model: _Model, step: Step, address: str) -> None:
    if address not in model.endpoints and len(model.endpoints) >= 32:
        return
    endpoint = model.endpoints.setdefault(address, _Endpoint())
    endpoint.calls += 1
    if step.error_type is not None:
        endpoint.failed += 1
        return
    expected = model.speed.expected_s(step)
    if expected is not None:
        endpoint.factors.append(step.duration_s / expected)
    model.speed.observe(step)
