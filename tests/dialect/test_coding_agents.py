"""What coding agents write of themselves, after their documentation: OTLP JSON lines in, runs and steps out.

Written by hand from code.claude.com/docs/en/monitoring-usage, google-gemini/gemini-cli's docs/cli/telemetry.md,
microsoft/vscode's extensions/copilot/docs/monitoring/agent_monitoring.md and openai/codex's codex-rs/otel.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt import conventions as c
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Outcome, StepKind
from otel_perfopt.signal.digest import content_digest
from otel_perfopt.signal.read.recorded import open_recorded

START_NS = 1_790_064_000_000_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"


def typed(value):
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [typed(item) for item in value]}}
    return {"stringValue": value}


def attributes(said):
    return [{"key": key, "value": typed(value)} for key, value in said.items()]


def span(number, parent, name, start_ms, end_ms, said, *, failed=False):  # noqa: PLR0917
    return {
        "traceId": TRACE, "spanId": f"{number:016x}", "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name, "startTimeUnixNano": str(START_NS + start_ms * 1_000_000),
        "endTimeUnixNano": str(START_NS + end_ms * 1_000_000), "attributes": attributes(said),
        "status": {"code": 2} if failed else {},
    }  # fmt: skip


def runs_of(tmp_path, *, spans=(), logs=(), scope="", service="agent"):
    resource = {"attributes": attributes({"service.name": service})}
    told = [{"scope": {"name": scope}, "spans": spans}] if spans else []
    lines = [{"resourceSpans": [{"resource": resource, "scopeSpans": told}]}]
    lines += [{"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": log}]}]} for log in logs]
    file = tmp_path / "telemetry.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = open_recorded([file])
    found = executions_of(span for batch in source.batches() for span in batch)
    assert not source.tally.problems
    return found


def test_claude_code(tmp_path):
    """An interaction is the command; cached tokens are added to input; a tool's parts are no calls of their own."""
    spans = [
        span(1, 0, "claude_code.interaction", 0, 9000, {"session.id": "s1", "user_prompt": "secret"}),
        span(2, 1, "claude_code.llm_request", 10, 3000, {
            "model": "claude-opus-5", "gen_ai.system": "anthropic", "input_tokens": 2, "output_tokens": 1200,
            "cache_read_tokens": 84562, "cache_creation_tokens": 7096, "ttft_ms": 812, "stop_reason": "tool_use",
            "success": True, "session.id": "s1", "gen_ai.response.id": "msg_1",
        }),
        span(3, 1, "claude_code.tool", 3010, 6000, {
            "tool_name": "Bash", "tool_use_id": "toolu_1", "full_command": "pytest -q", "duration_ms": 1831,
        }),
        span(4, 3, "claude_code.tool.blocked_on_user", 3020, 4000, {"decision": "accept", "source": "user"}),
        span(5, 3, "claude_code.tool.execution", 4000, 5990, {"success": True}),
        span(6, 1, "claude_code.llm_request", 6010, 7000, {
            "model": "claude-opus-5", "success": False, "error": "overloaded", "session.id": "s1",
        }),
    ]  # fmt: skip
    (run,) = runs_of(tmp_path, spans=spans, scope="com.anthropic.claude_code.tracing", service="claude-code")
    answered, failed = run.of_kind(StepKind.INFERENCE)
    (tool,) = run.of_kind(StepKind.TOOL)
    assert run.conversation_id == "s1"
    assert (answered.tokens.input, answered.tokens.output) == (84562 + 7096 + 2, 1200)
    assert (answered.tokens.cache_read, answered.tokens.cache_write) == (84562, 7096)
    assert answered.attributes[c.TIME_TO_FIRST_TOKEN] == 0.812
    assert answered.attributes[c.GEN_AI_RESPONSE_FINISH_REASONS] == ("tool_call",)
    assert failed.error_type == "error"
    assert (tool.name, tool.call_id, tool.requested_by) == ("Bash", "toolu_1", answered.span_id)
    assert tool.arguments_digest == content_digest("pytest -q")
    assert len(run.of_kind(StepKind.OTHER)) == 2


def test_gemini_cli(tmp_path):
    """Its own operations are model calls, tool calls and agents."""
    spans = [
        span(1, 0, "user_prompt", 0, 5000, {"gen_ai.operation.name": "user_prompt", "gen_ai.conversation.id": "g1"}),
        span(2, 1, "llm_call", 10, 2000, {
            "gen_ai.operation.name": "llm_call", "gen_ai.request.model": "gemini-2.5-pro",
            "gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 80, "gen_ai.conversation.id": "g1",
            "gen_ai.usage.cache_read.input_tokens": 600,
        }),
        span(3, 1, "schedule_tool_calls", 2000, 4000, {"gen_ai.operation.name": "schedule_tool_calls"}),
        span(4, 3, "tool_call", 2010, 3990, {
            "gen_ai.operation.name": "tool_call", "gen_ai.tool.name": "read_file", "gen_ai.tool.call.id": "c1",
            "input-json": '{"absolute_path": "/repo/a.py"}',
        }),
    ]  # fmt: skip
    (run,) = runs_of(tmp_path, spans=spans, scope="gemini-cli", service="gemini-cli")
    (call,), (tool,) = run.of_kind(StepKind.INFERENCE), run.of_kind(StepKind.TOOL)
    assert (call.name, run.tokens.input, run.tokens.output, run.tokens.cache_read) == ("gemini-2.5-pro", 900, 80, 600)
    assert (tool.name, tool.call_id) == ("read_file", "c1")
    assert tool.arguments_digest == content_digest({"absolute_path": "/repo/a.py"})
    assert run.conversation_id == "g1"


def test_copilot(tmp_path):
    """Standard spans; the agent's own totals repeat its calls' and do not count again; hooks are no tools."""
    spans = [
        span(1, 0, "invoke_agent copilot", 0, 9000, {
            "gen_ai.operation.name": "invoke_agent", "gen_ai.provider.name": "github", "gen_ai.agent.name": "copilot",
            "gen_ai.conversation.id": "v1", "gen_ai.usage.input_tokens": 3500, "gen_ai.usage.output_tokens": 300,
            "copilot_chat.turn_count": 2,
        }),
        span(2, 1, "chat gpt-4o", 10, 3000, {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024-08-06",
            "gen_ai.usage.input_tokens": 1500, "gen_ai.usage.output_tokens": 250, "gen_ai.response.finish_reasons": ["tool_calls"],
            "gen_ai.usage.cache_read.input_tokens": 1200, "gen_ai.usage.reasoning_tokens": 12,
            "gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": 0.45, "copilot_chat.time_to_first_token": 450,
        }),
        span(3, 1, "execute_hook PreToolUse", 3000, 3100, {"gen_ai.operation.name": "execute_hook"}),
        span(4, 1, "execute_tool readFile", 3100, 3200, {
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "readFile", "gen_ai.tool.call.id": "call_1",
            "gen_ai.tool.type": "function", "gen_ai.tool.call.arguments": '{"filePath":"/src/index.ts"}', "error.type": "FileNotFoundError",
        }, failed=True),
        span(5, 1, "chat gpt-4o", 3300, 8900, {
            "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 2000, "gen_ai.usage.output_tokens": 50,
        }),
    ]  # fmt: skip
    (run,) = runs_of(tmp_path, spans=spans, scope="copilot-chat", service="copilot-chat")
    first, _ = run.of_kind(StepKind.INFERENCE)
    (tool,) = run.of_kind(StepKind.TOOL)
    assert (run.command.name, run.conversation_id) == ("copilot", "v1")
    assert (run.tokens.input, run.tokens.output, run.tokens.cache_read, run.tokens.reasoning) == (3500, 300, 1200, 12)
    assert first.attributes[c.TIME_TO_FIRST_TOKEN] == 0.45
    assert (tool.error_type, tool.resource, tool.requested_by) == ("FileNotFoundError", "/src/index.ts", first.span_id)


def record(after_ms, name, said, *, named=True, conversation="019e6374-fdf3-7ff2-96bf-81a5fbccd716"):
    stamp = f"2026-09-22T08:00:{after_ms // 1000:02d}.{after_ms % 1000:03d}Z"
    common = {"event.timestamp": stamp, "conversation.id": conversation, "model": "gpt-5.5", "user.account_id": "acct"}
    return {
        "observedTimeUnixNano": str(START_NS + after_ms * 1_000_000),
        "attributes": attributes({**({"event.name": name} if named else {}), **common, **said}),
    }


REPLY = {"event.kind": "response.completed", "input_token_count": "1000", "output_token_count": "60", "tool_token_count": "1060",
         "cached_token_count": 700, "reasoning_token_count": 20}  # fmt: skip
CODEX = [
    record(0, "codex.conversation_starts", {"provider_name": "OpenAI"}),
    record(1000, "codex.user_prompt", {"prompt_length": "12", "prompt": "[REDACTED]"}),
    record(1400, "codex.api_request", {"duration_ms": "350", "http.response.status_code": 200, "endpoint": "/responses"}),
    record(1500, "codex.sse_event", {"event.kind": "response.output_text.delta", "duration_ms": "3"}),
    record(3000, "codex.sse_event", REPLY),
    record(3100, "codex.tool_decision", {"tool_name": "shell", "call_id": "c1", "decision": "approved"}),
    record(5000, "codex.tool_result", {
        "tool_name": "shell", "call_id": "c1", "arguments": '{"command":["cat","src/app.py"]}', "duration_ms": "1800",
        "success": "true", "output": "secret content",
    }),
    record(5400, "codex.api_request", {"duration_ms": "300", "http.response.status_code": 200}),
    record(6000, "codex.sse_event", {**REPLY, "input_token_count": "1200", "output_token_count": "10"}),
    record(20000, "codex.user_prompt", {"prompt_length": "3"}),
    record(20300, "codex.api_request", {"duration_ms": "200", "http.response.status_code": 429, "error.message": "slow down"}),
]  # fmt: skip


def test_codex_log_events_are_runs(tmp_path):
    """Each prompt begins a run; replies, tool results and failed requests are its steps, timed and linked."""
    first, second = runs_of(tmp_path, logs=[CODEX[:4], CODEX[4:7], CODEX[7:]], service="codex_cli_rs")
    asked, answered = first.of_kind(StepKind.INFERENCE)
    (tool,) = first.of_kind(StepKind.TOOL)
    assert {run.conversation_id for run in (first, second)} == {"019e6374-fdf3-7ff2-96bf-81a5fbccd716"}
    assert (first.command.name, first.user_id, first.outcome) == ("codex", "acct", Outcome.COMPLETED)
    assert (asked.name, asked.duration_s, asked.estimated) == ("gpt-5.5", 1.95, False)
    assert (asked.tokens.input, asked.tokens.output, asked.tokens.cache_read, asked.tokens.reasoning) == (
        1000,
        60,
        700,
        20,
    )
    assert (first.tokens.input, first.tokens.output, first.duration_s) == (2200, 70, 5.0)
    assert (tool.name, tool.call_id, tool.duration_s, tool.requested_by) == ("shell", "c1", 1.8, asked.span_id)
    assert tool.arguments_digest == content_digest({"command": ["cat", "src/app.py"]})
    assert tool.result_digest == content_digest("secret content")
    assert answered.duration_s == 0.9
    (failed,) = second.of_kind(StepKind.INFERENCE)
    assert (failed.error_type, failed.duration_s) == ("429", 0.2)
    assert "secret" not in str((first, second))


def test_codex_records_for_logs_and_for_traces_are_one_event(tmp_path):
    """An exporter that sends both of an event's records makes no second call of it; each adds what it has."""
    safe = {"tool_name": "shell", "call_id": "c1", "duration_ms": "1800", "success": "true", "output_length": 14}
    twins = [
        CODEX[1],
        CODEX[4], record(3002, "codex.sse_event", REPLY, named=False),
        record(5000, "codex.tool_result", safe),
        record(5001, "", {**safe, "arguments": '{"command":["ls"]}', "output": "a"}, named=False),
    ]  # fmt: skip
    (run,) = runs_of(tmp_path, logs=[twins])
    (call,), (tool,) = run.of_kind(StepKind.INFERENCE), run.of_kind(StepKind.TOOL)
    assert (call.tokens.input, call.estimated) == (1000, True)
    assert tool.arguments_digest == content_digest({"command": ["ls"]})


def test_codex_over_a_socket_and_by_event_name(tmp_path):
    """Replies over a WebSocket count alike; an event may be named by OTLP's own field."""
    named = record(1000, "", {"prompt_length": "3"}, named=False) | {"eventName": "codex.user_prompt"}
    sent = record(2000, "codex.websocket_event", REPLY)
    noise = record(1500, "codex.websocket_event", {"event.kind": "response.output_text.delta"})
    (run,) = runs_of(tmp_path, logs=[[named, noise, sent]])
    (call,) = run.of_kind(StepKind.INFERENCE)
    assert (call.duration_s, call.estimated, call.tokens.input) == (1.0, True, 1000)


def test_logs_of_others_are_passed_over(tmp_path):
    """A log record of another program is no call."""
    other = {
        "timeUnixNano": str(START_NS),
        "body": {"stringValue": "hello"},
        "attributes": attributes({"tool_name": "x"}),
    }
    assert runs_of(tmp_path, logs=[[other]]) == []


@given(st.permutations(CODEX))
def test_the_order_of_codex_records_makes_no_difference(tmp_path_factory, shuffled):
    """Batches arrive in any order."""
    folder = tmp_path_factory.mktemp("codex")
    expected = runs_of(folder, logs=[CODEX])
    found = runs_of(folder, logs=[shuffled])
    assert [(run.command.start_ns, len(run.steps), run.tokens) for run in found] == [
        (run.command.start_ns, len(run.steps), run.tokens) for run in expected
    ]


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, True, 1.5])
def test_odd_log_records_do_no_harm(tmp_path, value):
    """Whatever stands in the place of a value, nothing raises."""
    keys = [
        "event.name",
        "event.timestamp",
        "conversation.id",
        "duration_ms",
        "input_token_count",
        "call_id",
        "success",
    ]
    odd = {"timeUnixNano": value, "attributes": [{"key": key, "value": {"stringValue": value}} for key in keys]}
    typed_odd = {
        "timeUnixNano": "5",
        "attributes": attributes({"event.name": "codex.sse_event", "conversation.id": "c"}),
    }
    runs_of(tmp_path, logs=[[odd, typed_odd, {"attributes": value}]])
