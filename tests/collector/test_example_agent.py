from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from collector.conftest import SERVICE
from collector.program import until
from collector.sending import lines as file_lines
from collector.sending import spans_in


def outcomes_of(sent):
    return [json.loads(line) for line in sent.outcomes.read_text().splitlines()]


def tags(span):
    return {tag["key"]: tag["value"] for tag in span["tags"]}


@pytest.fixture(scope="module")
def traces(stack, sent):
    """Give the agent's traces as Jaeger's query API returns them, once every command is there."""
    commands = len(outcomes_of(sent))

    def all_there():
        found = stack.jaeger.traces(SERVICE)
        spans = [tags(span) for trace in found for span in trace["spans"]]
        return found if sum(span.get("perfopt.step.kind") == "command" for span in spans) >= commands else None

    return until("every command's span is in Jaeger", all_there)


def test_every_command_is_found_in_jaeger_with_our_attributes(traces, sent):
    """A command the agent handled is one span in Jaeger that says its name, its outcome and what the run wasted."""
    commands = [
        tags(span) for trace in traces for span in trace["spans"] if tags(span).get("perfopt.step.kind") == "command"
    ]
    asked = [outcome["command"] for outcome in outcomes_of(sent)]
    assert sorted(command["perfopt.command.name"] for command in commands) == sorted(asked)
    failed = sum(outcome["failed"] for outcome in outcomes_of(sent))
    assert sum(command["perfopt.command.outcome"] != "completed" for command in commands) == failed
    assert all("perfopt.critical_path.top" in command for command in commands)


def test_model_and_tool_calls_are_found_with_the_conventions_attributes(traces):
    """Model calls carry model and tokens, tool calls their name, their effect and their arguments' digest."""
    found = [tags(span) for trace in traces for span in trace["spans"]]
    chats = [span for span in found if span.get("gen_ai.operation.name") == "chat"]
    tools = [span for span in found if span.get("gen_ai.operation.name") == "execute_tool"]
    assert chats
    assert tools
    assert all(span["gen_ai.request.model"] == "support-model" for span in chats)
    assert all(span["gen_ai.usage.input_tokens"] > 0 for span in chats)
    assert all(span["gen_ai.tool.name"] and span["perfopt.tool.arguments.digest"] for span in tools)
    assert {span["perfopt.tool.effects"] for span in tools} >= {"read"}


def test_a_trace_can_be_searched_by_an_attribute_of_ours(stack, traces):
    """Jaeger finds the traces of one command by the attribute that names it, and no other trace."""
    queries = stack.jaeger.traces(SERVICE, tags=json.dumps({"perfopt.command.name": "/query"}))
    assert queries
    assert all(any(tags(span).get("perfopt.command.name") == "/query" for span in trace["spans"]) for trace in queries)
    assert len(queries) < len(traces)


def test_metrics_are_found_by_promql(stack, sent):
    """The meter's durations and tokens are in Prometheus under the agent's own name."""
    count = f'histogram_count(sum(perfopt_command_duration_seconds{{job="{SERVICE}"}}))'
    commands = len(outcomes_of(sent))
    until("all commands are counted", lambda: _value(stack.prometheus.query(count)) == commands)
    tokens = stack.prometheus.query(f'sum by (gen_ai_token_type) (perfopt_tokens_total{{job="{SERVICE}"}})')
    assert {one["metric"]["gen_ai_token_type"] for one in tokens} >= {"input", "output"}
    assert all(float(one["value"][1]) > 0 for one in tokens)
    quantile = f'histogram_quantile(0.95, sum(perfopt_command_duration_seconds{{job="{SERVICE}"}}))'
    assert 0.05 < _value(stack.prometheus.query(quantile)) < 60


def test_an_exemplar_leads_to_a_trace_that_jaeger_has(stack, sent, traces):
    """From a point of the duration's histogram one comes to the very trace of such a command."""
    name = f'perfopt_command_duration_seconds{{job="{SERVICE}"}}'
    found = until("exemplars are stored", lambda: stack.prometheus.exemplars(name, sent.started - 5, sent.ended + 120))
    known = {trace["traceID"] for trace in traces}
    assert {exemplar["labels"]["trace_id"] for exemplar in found} <= known


def test_agents_without_our_meter_are_measured_from_their_spans(stack, sent):
    """Durations by operation, model and tool come from the spans themselves, with exemplars."""
    name = f'traces_span_metrics_duration_seconds{{service_name="{SERVICE}",gen_ai_operation_name="execute_tool"}}'
    until("span metrics are there", lambda: stack.prometheus.query(name))
    until("they have exemplars", lambda: stack.prometheus.exemplars(name, sent.started - 5, sent.ended + 120))


def test_the_collectors_own_metrics_are_scraped(stack):
    """The queue's size is in Prometheus: a backend that is down shows before anything is lost."""
    assert until("own metrics", lambda: stack.prometheus.query('otelcol_exporter_queue_size{job="collector"}'))


def test_the_files_are_read_by_perfopt_analyze(stack, sent, traces, tmp_path):
    """`perfopt analyze` on the gateway's folder reports the runs that the agent made, and could read every line."""
    commands = len(outcomes_of(sent))
    # The file's own pipeline writes on a clock of its own: Jaeger may have a command's span before the file does.
    until("the file has what Jaeger has", lambda: _in_jaeger(stack) <= _in_file(stack))
    report = tmp_path / "report.json"
    perfopt = Path(sys.executable).with_name("perfopt")
    done = subprocess.run(
        [perfopt, "analyze", stack.gateway.telemetry, "--json", report, "--quiet"],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    # Other tests may have sent to this gateway too: each of their traces is a run beside the agent's.
    assert found["counts"]["runs"] == commands + len(_traces_of_others(stack))
    assert found["tally"]["problem_counts"] == {}


def test_jaeger_has_what_the_file_has(stack, traces):
    """The same spans went each way, each of them once."""

    def same():
        in_jaeger = [span["spanID"] for trace in stack.jaeger.traces(SERVICE) for span in trace["spans"]]
        return len(in_jaeger) == len(set(in_jaeger)) and set(in_jaeger) <= _in_file(stack) and len(in_jaeger) > 50

    until("Jaeger and the file agree", same)


def _in_jaeger(stack):
    return {span["spanID"] for trace in stack.jaeger.traces(SERVICE) for span in trace["spans"]}


def _traces_of_others(stack):
    everything = file_lines(stack.gateway.telemetry)
    others = [
        line for line in everything if SERVICE not in json.dumps([one["resource"] for one in line["resourceSpans"]])
    ]
    return {span["traceId"] for span in spans_in(others)}


def _in_file(stack):
    return {span["spanId"] for span in spans_in(file_lines(stack.gateway.telemetry))}


def _value(result):
    return float(result[0]["value"][1]) if result else 0.0
