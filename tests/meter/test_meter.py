from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from metered_host import Host, points_of
from opentelemetry import trace
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.trace import Status, StatusCode

import otel_perfopt
from otel_perfopt.measure.meter_series import MeterSeries
from otel_perfopt.signal.emit.spans import command, feedback, thinking, tool

DELTA = {Histogram: AggregationTemporality.DELTA, Counter: AggregationTemporality.DELTA}


@tool("look_up", effects="read")
def look_up(order_id):
    time.sleep(0.01)
    return {"order": order_id}


@tool("fails", effects="read")
def fails():
    raise LookupError("no")


def chat(host, model="claude-opus-4-5", scope="some.instrumentation", **attributes):
    """A model call as another instrumentation tells of it."""
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        **attributes,
    }
    with host.tracers.get_tracer(scope).start_as_current_span("chat", attributes=said):
        time.sleep(0.01)


def by(points, name, **labels):
    found = [
        point
        for point in points[name]
        if all(point.attributes.get(key.replace("_", ".")) == value for key, value in labels.items())
    ]
    assert len(found) == 1, points[name]
    return found[0]


def test_a_run_is_measured(host):
    """Durations, tokens, cost, waste, overlap, memory and errors of a command, each with its count and unit."""
    with command("/task"):
        chat(host, **{"perfopt.context.resent_tokens": 400})
        look_up("ORD-1")
        look_up("ORD-1")
        with thinking():
            time.sleep(0.01)
        with pytest.raises(LookupError):
            fails()
    points = host.metrics()
    whole = by(points, "perfopt.command.duration")
    assert dict(whole.attributes) == {"perfopt.command.name": "/task", "perfopt.command.outcome": "completed"}
    assert whole.count == 1
    assert whole.sum > 0.04
    tools = {p.attributes["gen_ai.tool.name"]: p.count for p in points["perfopt.tool.duration"]}
    assert tools == {"look_up": 2, "fails": 1}
    tokens = {p.attributes["gen_ai.token.type"]: p.value for p in points["perfopt.tokens"]}
    assert tokens == {"input": 1000, "output": 100, "resent": 400}
    assert by(points, "perfopt.cost").value == pytest.approx(1000 * 5e-6 + 100 * 25e-6)
    assert by(points, "perfopt.command.cost").sum == pytest.approx(0.0075)
    assert by(points, "perfopt.command.resent_share").sum == pytest.approx(0.4)
    assert by(points, "perfopt.command.wasted_tool_time").sum >= 0.01
    assert by(points, "perfopt.command.parallelism.reached").sum == pytest.approx(1)
    assert by(points, "perfopt.thinking.duration").count == 1
    assert by(points, "perfopt.command.memory.rss").sum > 1e7
    assert by(points, "perfopt.command.gc.pause").count == 1
    error = by(points, "perfopt.errors")
    assert dict(error.attributes) == {"perfopt.step.kind": "tool", "error.type": "LookupError"}
    assert by(points, "perfopt.overhead.time").value > 0


def test_the_command_span_says_what_its_run_wasted(host):
    """Attributes to search by are on the span that is exported: waste, overlap, critical path, resent share."""
    with command("/task"):
        chat(host, **{"perfopt.context.resent_tokens": 400})
        look_up("ORD-1")
        look_up("ORD-1")
    said = host.spans()[-1].attributes
    assert said["perfopt.waste.repeated_calls"] == 1
    assert said["perfopt.waste.tool_time"] >= 0.01
    assert said["perfopt.context.resent_share"] == pytest.approx(0.4)
    assert said["perfopt.critical_path.top"] == "tool look_up"
    assert said["perfopt.critical_path.tool_time"] >= 0.02
    assert said["perfopt.critical_path.inference_time"] >= 0.01
    assert said["perfopt.parallelism.reached"] == pytest.approx(1)


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 7},
        {"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.token_count.prompt": 7},
        {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 7},
    ],
)
def test_all_families_count_alike(host, attributes):
    """A model call is counted once, under the same names, whoever tells of it."""
    with host.tracers.get_tracer("theirs").start_as_current_span("call", attributes=attributes):
        pass
    points = host.metrics()
    assert by(points, "perfopt.inference.duration").count == 1
    assert by(points, "perfopt.tokens").value == 7


def test_spans_that_are_no_steps_are_left_out(host):
    """An HTTP span adds to nothing."""
    with host.tracers.get_tracer("http").start_as_current_span("GET", attributes={"http.request.method": "GET"}):
        pass
    points = host.metrics()
    assert not [name for name in points if name.endswith(("duration", "tokens"))]


def test_exemplars_lead_to_the_trace(host):
    """The last and the longest call of a series can be looked up."""
    with command("/task"):
        look_up("ORD-1")
    spans = {span.context.span_id: span for span in host.spans()}
    point = by(host.metrics(), "perfopt.tool.duration")
    (exemplar,) = point.exemplars
    assert spans[exemplar.span_id].name == "execute_tool look_up"
    assert exemplar.trace_id == spans[exemplar.span_id].context.trace_id


def test_interruptions_and_satisfaction(host):
    """What was interrupted is told apart; a score joins, also after the command has ended."""
    with command("/other"):
        feedback(0.5)
    with pytest.raises(KeyboardInterrupt), command("/task"):
        raise KeyboardInterrupt
    feedback(1.0)
    points = host.metrics()
    outcomes = {dict(point.attributes)["perfopt.command.outcome"] for point in points["perfopt.command.duration"]}
    assert outcomes == {"completed", "interrupted"}
    assert by(points, "perfopt.satisfaction").sum == 1.5


def test_the_hosts_own_metrics_stay(host):
    """What the host measures is collected as before, beside ours."""
    host.meters.get_meter("host").create_counter("theirs").add(3)
    look_up("ORD-1")
    points = host.metrics()
    assert by(points, "theirs").value == 3
    assert "perfopt.tool.duration" in points


def test_a_reader_added_later_is_served_and_uninstrumenting_leaves_no_trace(tmp_path):
    """Readers of today and of later get our metrics while instrumented, and none afterwards."""
    host = Host(tmp_path)
    host.instrument()
    later = InMemoryMetricReader()
    host.meters.add_metric_reader(later)
    look_up("ORD-1")
    host.spans()
    assert "perfopt.tool.duration" in points_of(later.get_metrics_data())
    otel_perfopt.uninstrument()
    assert points_of(later.get_metrics_data()) == {}
    assert points_of(host.reader.get_metrics_data()) == {}
    host.tracers.shutdown()
    host.meters.shutdown()


def test_a_reader_of_differences_gets_differences(tmp_path):
    """With delta temporality each collection holds what came since the one before."""
    host = Host(tmp_path, preferred_temporality=DELTA)
    host.instrument()
    look_up("ORD-1")
    assert by(host.metrics(), "perfopt.tool.duration").count == 1
    assert "perfopt.tool.duration" not in host.metrics()
    look_up("ORD-1")
    look_up("ORD-1")
    assert by(host.metrics(), "perfopt.tool.duration").count == 2
    otel_perfopt.uninstrument()
    host.tracers.shutdown()
    host.meters.shutdown()


def test_series_are_bounded():
    """Beyond the limit values are counted together, under the conventions' overflow attribute; none is lost."""
    series = MeterSeries(limit=10)
    for n in range(100):
        series.record(("x", "s"), (("name", f"n{n}"),), 1.0)
        series.add(("y", "1"), (("name", f"n{n}"),), 1.0)
    for metric in series.metrics(0, 1, None):
        points = metric.data.data_points
        assert len(points) == 11
        overflow = [point for point in points if point.attributes == {"otel.metric.overflow": True}]
        total = sum(getattr(point, "count", None) or point.value for point in overflow)
        assert total == 90


def test_context_use_and_prices_of_ones_own(tmp_path):
    """A window and a price that are given are used."""
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"models": {"m": [{"input": 10, "output": 0}]}}))
    host = Host(tmp_path)
    host.instrument(prices=prices, windows=(("m*", 4000),))
    chat(host, model="m")
    points = host.metrics()
    assert by(points, "perfopt.context.utilization").sum == pytest.approx(0.25)
    assert by(points, "perfopt.cost").value == pytest.approx(0.01)
    otel_perfopt.uninstrument()
    host.tracers.shutdown()
    host.meters.shutdown()


def test_metrics_are_kept_as_otlp_json_beside_the_spans(tmp_path):
    """With telemetry written, a file of the Collector's format holds exponential histograms with exemplars."""
    host = Host(tmp_path)
    host.instrument(write_telemetry=True)
    with command("/task"):
        look_up("ORD-1")
    otel_perfopt.uninstrument()
    (file,) = (tmp_path / "metrics").iterdir()
    found = {}
    for line in file.read_text().splitlines():
        for scope in json.loads(line)["resourceMetrics"][0]["scopeMetrics"]:
            found.update({metric["name"]: metric for metric in scope["metrics"]})
    point = found["perfopt.tool.duration"]["exponentialHistogram"]["dataPoints"][0]
    assert int(point["count"]) == 1
    assert len(point["exemplars"][0]["traceId"]) == 32
    assert found["perfopt.tool.duration"]["unit"] == "s"
    assert not any("resourceMetrics" in f.read_text() for f in (tmp_path / "telemetry").iterdir())
    host.tracers.shutdown()
    host.meters.shutdown()


def test_spans_that_no_file_could_keep_are_counted(tmp_path):
    """Where telemetry cannot be written, the metric of dropped spans says how many were lost."""
    (tmp_path / "telemetry").write_text("a file where the folder should be")
    host = Host(tmp_path)
    host.instrument(write_telemetry=True)
    with command("/task"):
        look_up("ORD-1")
    dropped = host.metrics()["perfopt.spans.dropped"]
    assert sum(point.value for point in dropped) == len(host.spans()) == 2
    otel_perfopt.uninstrument()
    host.tracers.shutdown()
    host.meters.shutdown()


def test_no_metrics_where_they_are_switched_off(tmp_path):
    """With `metrics` off nothing is counted and nothing extended; with `write_metrics` off there is no file."""
    host = Host(tmp_path)
    host.instrument(metrics=False, write_telemetry=True)
    look_up("ORD-1")
    assert host.metrics() == {}
    otel_perfopt.uninstrument()
    assert not (tmp_path / "metrics").exists()
    host.tracers.shutdown()
    host.meters.shutdown()


def test_another_kind_of_provider_is_left_alone(tmp_path):
    """A meter provider that is not the SDK's stays as it is, and nothing raises."""

    class Other(MeterProvider):
        def __init__(self):
            """Nothing of the SDK's."""

    host = Host(tmp_path)
    assert otel_perfopt.instrument(home=tmp_path, tracer_provider=host.tracers, meter_provider=Other())
    look_up("ORD-1")
    assert len(host.spans()) == 1
    otel_perfopt.uninstrument()
    host.tracers.shutdown()
    host.meters.shutdown()


def test_an_error_of_another_instrumentation_counts(host):
    """A status says enough where no type is given."""
    with host.tracers.get_tracer("theirs").start_as_current_span("t", attributes={"openinference.span.kind": "TOOL"}):
        trace.get_current_span().set_status(Status(StatusCode.ERROR, "no"))
    assert by(host.metrics(), "perfopt.errors").attributes["error.type"] == "_OTHER"


def test_the_exporters_of_opentelemetry_instrument_get_our_metrics(tmp_path):
    """Without any code of ours, metrics and enriched spans go wherever the environment sends telemetry."""
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    if not launcher.exists():
        pytest.skip("opentelemetry-instrument is not installed")
    script = tmp_path / "agent.py"
    script.write_text(
        "from otel_perfopt import command, tool\n"
        "@tool('look_up', effects='read')\n"
        "def look_up(n): return {'n': n}\n"
        "with command('/task'):\n"
        "    look_up(1); look_up(1)\n"
    )
    environment = {
        **os.environ,
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "console",
        "OTEL_LOGS_EXPORTER": "none",
        "PERFOPT_HOME": str(tmp_path / "home"),
    }
    done = subprocess.run(
        [launcher, sys.executable, script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    for said in (
        '"name": "perfopt.command.duration"',
        '"name": "perfopt.tool.duration"',
        '"scale": 5',
        '"perfopt.waste.repeated_calls": 1',
        '"perfopt.critical_path.top": "tool look_up"',
    ):
        assert said in done.stdout, said
