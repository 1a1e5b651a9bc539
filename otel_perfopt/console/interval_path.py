"""How a comparison came to where it is: its units in order in, each metric's interval at growing numbers of units out."""

from __future__ import annotations

from collections.abc import Sequence

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.console.drawing.interval_chart import IntervalPath
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.loop.observatory import Standing
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.verify.comparison import Comparison
from otel_perfopt.verify.metric_kind import FAULT
from otel_perfopt.verify.verdict import MetricResult

_LOOKS = 40
_ROLES = ("goal", "guardrail")


def interval_paths(status: PolicyStatus, standing: Standing, now_ns: int) -> tuple[IntervalPath, ...]:
    """Return the goal and each guardrail, as looking after every so many units would have shown them.

    The comparison is the verdict's own, given the same units in the same order, so that the last look is the
    verdict that counts.
    """
    verdict = standing.verdict
    if verdict is None or not standing.units:
        return ()
    comparison = Comparison(verdict.decision, comparison_plan(status.policy, status.state))
    units = sorted(standing.units, key=lambda unit: (unit.first_ns, unit.unit_id))
    every = max(1, len(units) // _LOOKS)
    looks: dict[str, list[tuple[int, Interval]]] = {}
    for number, unit in enumerate(units, start=1):
        comparison.observe(unit)
        if number % every == 0 or number == len(units):
            for result in comparison.verdict(now_ns).metrics:
                if result.effect is not None:
                    looks.setdefault(_key(result), []).append((number, result.effect))
    return _paths(verdict.metrics, looks)


def _paths(results: Sequence[MetricResult], looks: dict[str, list[tuple[int, Interval]]]) -> tuple[IntervalPath, ...]:
    return tuple(
        IntervalPath(one.metric, one.role, one.limit, one.absolute, tuple(looks.get(_key(one), ())))
        for one in results
        if one.role in _ROLES and one.metric != FAULT
    )


def _key(result: MetricResult) -> str:
    return f"{result.role} {result.metric}"
