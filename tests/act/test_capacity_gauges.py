"""Desired capacity: what an autoscaler reads of the calls that a process makes and would make."""

from __future__ import annotations

import threading
import time
from typing import Any

from governed import decision, snapshot
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from otel_perfopt import conventions as c
from otel_perfopt.act.adaptive_concurrency import MAX_LINES, AdaptiveConcurrency
from otel_perfopt.act.capacity_gauges import WINDOW_NS, CapacityGauges, PeakDemand
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.selection import Plan
from otel_perfopt.signal.calls import InferenceCall, RunContext


def a_use(policy: str = "p", **parameters: Any) -> Use:
    one = decision("adaptive_concurrency", policy=policy, parameters=parameters)
    return Use(Plan.of(snapshot(one)).inference_rules[0], shadow=False)


def a_call(model: str = "small") -> InferenceCall:
    return InferenceCall(
        "openai.chat", "openai", model, len, {}, {"model": model}, RunContext("/ask"), is_reply=lambda _: True
    )


def collected(reader: InMemoryMetricReader) -> dict[tuple[str, str], float]:
    """Return each gauge's value by its name and model."""
    data = reader.get_metrics_data()
    found: dict[tuple[str, str], float] = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            assert scope.scope.name == c.INSTRUMENTATION_SCOPE
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    model = str((point.attributes or {})[c.GEN_AI_REQUEST_MODEL])
                    found[metric.name, model] = point.value  # type: ignore[union-attr]
    return found


def test_what_waits_counts_as_desired_capacity() -> None:
    """Five calls where two may go: two under way and three waiting are told, and the peak stays for a while."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    now = [10 * WINDOW_NS]
    middleware = AdaptiveConcurrency(Clock(time.time_ns, lambda: now[0]), CapacityGauges(provider))
    assert collected(reader) == {}
    use, go = a_use(initial=2, max_concurrency=2), threading.Event()
    threads = [
        threading.Thread(target=lambda: middleware.around(use, a_call(), lambda _: go.wait(10))) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while middleware.demand() < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    busy = collected(reader)
    go.set()
    for thread in threads:
        thread.join(10)
    after = collected(reader)
    now[0] += 3 * WINDOW_NS
    later = collected(reader)
    desired, limit, waiting = (
        (name, "small") for name, _ in (c.METRIC_CAPACITY_DESIRED, c.METRIC_CAPACITY_LIMIT, c.METRIC_CAPACITY_WAITING)
    )
    assert (busy[desired], busy[limit], busy[waiting]) == (5, 2, 3)
    assert (after[desired], after[waiting]) == (5, 0)
    assert later[desired] == 0
    middleware.close()
    assert collected(reader) == {}
    provider.shutdown()


def test_policies_of_a_model_are_added_up_and_models_are_bounded() -> None:
    """Two policies' lines are one value; beyond the bound models share one."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    middleware = AdaptiveConcurrency(gauges=CapacityGauges(provider))
    for policy in ("one", "two"):
        middleware.around(a_use(policy, initial=3), a_call(), lambda _: None)
    assert collected(reader)[c.METRIC_CAPACITY_LIMIT[0], "small"] == 6
    for number in range(3 * MAX_LINES):
        middleware.around(a_use(), a_call(f"model-{number}"), lambda _: None)
    models = {model for _, model in collected(reader)}
    assert len(models) <= MAX_LINES + 1
    assert c.METRIC_OVERFLOW in models
    provider.shutdown()


def test_a_peak_lasts_one_to_two_windows() -> None:
    """It is remembered at least a minute and at most two."""
    peak = PeakDemand()
    peak.saw(7, 0)
    assert peak.value(1, WINDOW_NS - 1) == 7
    assert peak.value(1, WINDOW_NS) == 7
    assert peak.value(1, 2 * WINDOW_NS) == 1


def test_a_provider_that_fails_costs_nothing() -> None:
    """The call is made whatever the host's meter provider does."""

    class Broken:
        def get_meter(self, *_: object) -> None:
            raise RuntimeError("planted")

    middleware = AdaptiveConcurrency(gauges=CapacityGauges(Broken()))
    assert middleware.around(a_use(), a_call(), lambda _: "reply") == "reply"
