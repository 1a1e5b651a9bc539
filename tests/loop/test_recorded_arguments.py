"""A call to make ahead is given what it was asked, from telemetry with content; what is not there is not proposed."""

from __future__ import annotations

import json

import pytest

from otel_perfopt import conventions as c
from otel_perfopt.analyse.finding import Effect, Finding, Suggestion
from otel_perfopt.decide.proposal import propose
from otel_perfopt.execution.model import Target
from otel_perfopt.loop.recorded_arguments import with_recorded_arguments


def write(folder, *spans):
    resource = {"resource": {}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}
    with (folder / "agent.jsonl").open("a") as file:
        file.write(json.dumps({"resourceSpans": [resource]}) + "\n")


def span(number, text):
    attribute = {"key": c.GEN_AI_TOOL_CALL_ARGUMENTS, "value": {"stringValue": text}}
    attributes = [] if text is None else [attribute]
    return {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "tool", "attributes": attributes}


def recorded(number):
    return {"tool": "read", "recorded": {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}}


def finding(*calls):
    suggestion = Suggestion("warm_up", {"calls": calls, "discard": True}, {"command": ("*",)})
    return Finding(
        "cold_start", Target(), "Slow when cold.", "warm_up_calls", Effect("cold_call", "s"), suggestion=suggestion
    )


def test_arguments_come_from_the_span_that_has_them(tmp_path):
    """Values keep their types; calls that name their arguments stay; the proposal is a valid policy."""
    write(tmp_path, span(1, '{"city": "Ulm", "days": 3}'), span(2, '{"other": 1}'))
    plain = {"tool": "now", "arguments": {}}
    (filled,) = with_recorded_arguments([finding(recorded(1), plain)], tmp_path)
    assert filled.suggestion.parameters == {
        "calls": ({"tool": "read", "arguments": {"city": "Ulm", "days": 3}}, plain), "discard": True,
    }  # fmt: skip
    proposal = propose(filled, 1_795_000_000 * 10**9, [])
    assert proposal.policy.spec.optimize.parameters.published()["discard"] is True
    assert proposal.policy.spec.rollout.unit == "process"


@pytest.mark.parametrize("text", [None, "no json", "[1]", '{"a": ' + '"x"' * 9000 + "}"])
def test_what_was_not_recorded_is_left_out(tmp_path, text):
    """Without content, or with something that is no named arguments, there is nothing to propose."""
    write(tmp_path, span(1, text))
    (tmp_path / "torn.jsonl").write_text('{"resourceSpans": [{"x": "' + f"{1:032x}" + '"}]}\n{"resour' + f"{1:032x}")
    (left,) = with_recorded_arguments([finding(recorded(1))], tmp_path)
    assert left.suggestion is None
    (some,) = with_recorded_arguments([finding(recorded(1), {"tool": "now", "arguments": {}})], tmp_path)
    assert some.suggestion.parameters["calls"] == ({"tool": "now", "arguments": {}},)


def test_other_findings_cost_nothing(tmp_path):
    """Nothing is read where nothing is asked for, and the findings stay the same objects."""
    other = Finding("trend", Target(), "", "history", Effect("load", ""))
    plain = finding({"tool": "now", "arguments": {}})
    assert with_recorded_arguments([other, plain], tmp_path / "absent") == (other, plain)
