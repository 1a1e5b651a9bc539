"""The one translation of names, against what a real Prometheus makes of them."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

from otel_perfopt import conventions
from otel_perfopt.decide.prometheus_name import COUNTER, GAUGE, HISTOGRAM, label_name, metric_name
from otel_perfopt.loop.controller_metrics import COUNTERS, GAUGES

# Our own, and what other instrumentations call theirs.
METERED = {
    value for name, value in vars(conventions).items() if name.startswith("METRIC_") and isinstance(value, tuple)
}
ODD = {
    (COUNTER, "odd.requests.total", "{request}"),
    (COUNTER, "odd.bytes", "By"),
    (COUNTER, "odd..dots--and__lines", "1"),
    (GAUGE, "odd.ratio.of.things", "1"),
    (GAUGE, "odd.speed", "By/s"),
    (GAUGE, "odd.percent", "%"),
    (GAUGE, "7.odd", ""),
    (HISTOGRAM, "odd.wait.seconds", "s"),
    (HISTOGRAM, "odd.price", "USD"),
    (HISTOGRAM, "odd.share", "1"),
}
ASKED = ODD | {(COUNTER, *one) for one in COUNTERS} | {(GAUGE, *one) for one in GAUGES}
ASKED |= {(HISTOGRAM, *one) for one in METERED - set(COUNTERS) - set(GAUGES)}


def test_every_name_is_what_prometheus_makes_of_it(bare_prometheus):
    """Each metric of ours, and odd ones, is found under the name that the translation gives."""
    exporter = OTLPMetricExporter(
        endpoint=bare_prometheus.otlp_metrics,
        preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()},
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)])
    meter = provider.get_meter("names")
    labels = {"perfopt.policy": "p", "2nd-label": "x"}
    for kind, name, unit in sorted(ASKED):
        # The API refuses a leading digit, other producers do not.
        allowed = name if not name[0].isdigit() else f"a{name}"
        if kind == COUNTER:
            meter.create_counter(allowed, unit).add(1, labels)
        elif kind == GAUGE:
            meter.create_gauge(allowed, unit).set(1, labels)
        else:
            meter.create_histogram(allowed, unit).record(0.5, labels)
    provider.shutdown()
    expected = {metric_name(name if not name[0].isdigit() else f"a{name}", unit, kind) for kind, name, unit in ASKED}
    deadline = time.monotonic() + 10
    while not expected <= bare_prometheus.names() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert expected - bare_prometheus.names() == set()
    while not (found := bare_prometheus.query("odd_price_USD")) and time.monotonic() < deadline + 10:
        time.sleep(0.2)
    (series,) = found
    assert {label_name(name) for name in labels} <= set(series["metric"])


@settings(deadline=None)
@given(name=st.text(min_size=1), unit=st.text(max_size=8), kind=st.sampled_from((COUNTER, GAUGE, HISTOGRAM)))
def test_a_name_is_always_one_that_prometheus_takes(name, unit, kind):
    """Whatever comes in, what goes out can stand in an expression."""
    found = metric_name(name, unit, kind)
    assert re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?", found)
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", label_name(name))


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("perfopt.command.duration", "s", HISTOGRAM, "perfopt_command_duration_seconds"),
        ("perfopt.cost", "USD", COUNTER, "perfopt_cost_USD_total"),
        ("perfopt.tokens", "{token}", COUNTER, "perfopt_tokens_total"),
        ("perfopt.policy.effect", "1", GAUGE, "perfopt_policy_effect_ratio"),
        ("perfopt.command.resent_share", "1", HISTOGRAM, "perfopt_command_resent_share"),
        ("7.odd", "", GAUGE, "_7_odd"),
        ("odd.speed", "By/s", GAUGE, "odd_speed_bytes_per_second"),
    ],
)
def test_names_read_as_they_do_in_the_dashboards(name, unit, kind, expected):
    """The rules are written down here too, for machines without Prometheus."""
    assert metric_name(name, unit, kind) == expected
