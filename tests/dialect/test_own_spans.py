"""The spans that Anthropic's client and MCP's own package write by themselves, as installed here."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from cassettes import call_jobs
from family import CONTENT_ON, run_family
from same_step import seen, truth

from otel_perfopt.execution.model import StepKind


@pytest.fixture(scope="module")
def anthropic_calls(cassettes):
    for package in ("anthropic", "vcr"):
        if find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    if find_spec("anthropic._tracing") is None:
        pytest.skip("this version of anthropic writes no spans of its own")
    return {
        name: (job, made)
        for name, (job, made) in call_jobs(cassettes).items()
        if all(call.client == "anthropic" for call in made)
    }


def test_the_clients_own_spans_are_the_steps_their_replies_tell_of(anthropic_calls, tmp_path):
    """With no instrumentation at all: models, tokens with caches and thinking, finish and streaming are right."""
    outcome = run_family(Path(sys.executable), [job for job, _ in anthropic_calls.values()], tmp_path, CONTENT_ON)
    number = 0
    for name, (_, made) in anthropic_calls.items():
        for call, step in zip(made, outcome.steps(name, StepKind.INFERENCE), strict=True):
            assert seen(step) == truth(call), name
            number += 1
    assert number >= 40


def test_mcp_writes_its_calls_itself(tmp_path):
    """Client and server of one process, a server in another one: each call of a tool is one tool step."""
    if find_spec("mcp") is None or find_spec("mcp.shared._otel") is None:
        pytest.skip("no version of the package mcp that writes spans")
    jobs = [{"name": name, "run": name} for name in ("mcp_in_process", "mcp_over_stdio")]
    outcome = run_family(Path(sys.executable), jobs, tmp_path, CONTENT_ON)
    assert outcome.ended == {job["name"]: [""] for job in jobs}
    answered, failed = outcome.steps("mcp_in_process", StepKind.TOOL)
    assert [(step.name, step.error_type) for step in (answered, failed)] == [
        ("get_weather", None),
        ("get_weather", "tool_error"),
    ]
    assert [step.name for step in outcome.steps("mcp_over_stdio", StepKind.TOOL)] == ["get_weather"]
    assert len(outcome.steps("mcp_in_process", StepKind.RETRIEVAL)) == 1
