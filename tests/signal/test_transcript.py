from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from oracle import claude_code
from otel_perfopt import conventions as c
from otel_perfopt.signal.read.transcript import TranscriptSource


def spans_in(*paths):
    source = TranscriptSource([Path(path) for path in paths])
    return [span for batch in source.batches() for span in batch], source.tally


def of_kind(spans, kind):
    return [span for span in spans if span.attributes[c.STEP_KIND] == kind]


@pytest.fixture(scope="module")
def sessions(shared_data):
    return sorted((shared_data / "claude-code").glob("*.jsonl.gz"))


@pytest.fixture(scope="module")
def read(sessions):
    return {path: spans_in(path) for path in sessions}


def test_every_call_message_and_thought_is_found(sessions, read):
    """Calls by tool, errors, model calls, thinking blocks and parallel messages agree with the oracle, file by file."""
    assert sessions
    for path in sessions:
        spans, _ = read[path]
        expected = claude_code.summary(path)
        tools = of_kind(spans, "tool")
        errors = [span for span in tools if span.error_type not in (None, "unfinished")]
        asked = Counter(span.attributes[c.REQUESTED_BY] for span in tools)
        assert Counter(span.attributes[c.GEN_AI_TOOL_NAME] for span in tools) == expected["calls"]
        assert Counter(span.attributes[c.GEN_AI_TOOL_NAME] for span in errors) == expected["errors"]
        assert sum(span.error_type == "unfinished" for span in tools) == expected["unanswered"]
        assert len(of_kind(spans, "inference")) == expected["messages"]
        assert len(of_kind(spans, "thinking")) == expected["thinking"]
        assert len(asked) == expected["tool_messages"]
        assert sum(count > 1 for count in asked.values()) == expected["parallel_messages"]


def test_tokens_of_every_type_agree(sessions, read):
    """Sums of input, output and both cache counts over the model calls agree with the oracle, file by file."""
    names = {
        "input": c.GEN_AI_USAGE_INPUT_TOKENS,
        "output": c.GEN_AI_USAGE_OUTPUT_TOKENS,
        "cache_read": c.GEN_AI_USAGE_CACHE_READ_TOKENS,
        "cache_write": c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,
    }
    for path in sessions:
        calls = of_kind(read[path][0], "inference")
        said = {kind: sum(span.attributes.get(name, 0) for span in calls) for kind, name in names.items()}
        assert said == claude_code.tokens(path)


def test_prompts_and_their_durations_agree(sessions, read):
    """Each prompt's name, first and last moment agree with the oracle."""
    for path in sessions:
        commands = of_kind(read[path][0], "command")
        found = sorted((span.name, span.start_ns // 10**6, span.end_ns // 10**6) for span in commands)
        expected = [(item["name"], item["start_ms"], item["end_ms"]) for item in claude_code.prompts(path)]
        implicit = len(found) - len(expected)
        assert implicit in (0, 1)
        assert set(expected) <= set(found)


def test_a_call_lasts_from_its_request_to_its_result(sessions, read):
    """Every call ends at its result; it starts when asked, later only where a writing call was in its way."""
    for path in sessions:
        spans = {span.attributes[c.GEN_AI_TOOL_CALL_ID]: span for span in of_kind(read[path][0], "tool")}
        by_message = Counter(call["message"] for call in claude_code.calls(path))
        for call in claude_code.calls(path):
            span = spans[call["id"]]
            if call["answered_ms"] is not None:
                assert span.end_ns == call["answered_ms"] * 10**6
            assert span.start_ns >= call["asked_ms"] * 10**6
            if by_message[call["message"]] == 1:
                assert span.start_ns == call["asked_ms"] * 10**6
                assert c.DURATION_ESTIMATED not in span.attributes or call["answered_ms"] is None


def test_repeats_and_rereads_agree(sessions, read):
    """Exact repeats of read-only calls, and files read again, agree with the oracle."""
    for path in sessions:
        tools = of_kind(read[path][0], "tool")
        keys = [
            (span.attributes[c.GEN_AI_TOOL_NAME], span.attributes[c.ARGUMENTS_DIGEST])
            for span in tools
            if span.attributes[c.TOOL_EFFECTS] == "read"
        ]
        files = [span.attributes[c.TOOL_RESOURCE] for span in tools if span.attributes[c.GEN_AI_TOOL_NAME] == "Read"]
        expected = claude_code.summary(path)
        assert len(keys) == expected["read_only_calls"]
        assert len(keys) - len(set(keys)) == expected["repeats"]
        assert len(files) - len(set(files)) == expected["rereads"]


def test_every_span_hangs_in_its_trace(sessions, read):
    """Ids are unique, parents exist in the same trace, and no time runs backwards."""
    for path in sessions:
        spans, tally = read[path]
        assert len({span.span_id for span in spans}) == len(spans) == tally.spans
        known = {(span.trace_id, span.span_id) for span in spans}
        for span in spans:
            assert span.start_ns <= span.end_ns
            is_root = span.attributes[c.STEP_KIND] == "command"
            assert is_root == (span.parent_span_id == "")
            assert is_root or (span.trace_id, span.parent_span_id) in known


def test_subagents_calls_are_below_the_call_that_started_them(sessions, read):
    """What the program reports of a subagent's progress hangs below its Task call, and is counted once."""
    below = 0
    for path in sessions:
        spans = {span.span_id: span for span in read[path][0]}
        agents = {call["id"] for call in claude_code.calls(path) if call["agent"]}
        for span in spans.values():
            if span.attributes.get(c.GEN_AI_TOOL_CALL_ID) in agents:
                below += 1
                assert spans[span.parent_span_id].attributes[c.GEN_AI_TOOL_NAME] == "Task"
    assert below > 50


def test_a_file_read_twice_counts_once(sessions):
    """A resumed session's copied lines give no second span."""
    once, _ = spans_in(sessions[0])
    twice, _ = spans_in(sessions[0], sessions[0])
    assert [span.span_id for span in twice] == [span.span_id for span in once]


def test_glued_records_are_recovered_and_reported(sessions, read):
    """Two objects on one line are both read, and the place is told."""
    glued = [problem for _, tally in read.values() for problem in tally.problems if problem.kind == "glued_line"]
    assert [(Path(problem.path).name[:8], problem.line) for problem in glued] == [("130d7b7e", 128), ("a2b25ca9", 183)]


# --- sessions written here, for what the sample does not hold -------------------------------------


def user(uuid, second, content, **more):
    message = {"role": "user", "content": content}
    stamp = f"2026-03-01T10:00:{second:06.3f}Z"
    return {"type": "user", "uuid": uuid, "sessionId": "s1", "timestamp": stamp, "message": message, **more}


def assistant(uuid, second, message_id, *content, **more):
    usage = {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5}
    message = {"id": message_id, "model": "m", "role": "assistant", "content": list(content), "usage": usage}
    stamp = f"2026-03-01T10:00:{second:06.3f}Z"
    return {"type": "assistant", "uuid": uuid, "sessionId": "s1", "timestamp": stamp, "message": message, **more}


def call(call_id, name, **arguments):
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


def result(call_id, content="ok", **more):
    return {"type": "tool_result", "tool_use_id": call_id, "content": content, **more}


TEXT = {"type": "text", "text": "done"}


def write(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_slash_command_gives_the_command_its_name(tmp_path):
    """`/review` typed by the user is the command's name, and its expanded text is no second prompt."""
    path = write(
        tmp_path / "s.jsonl",
        user("u1", 0, "<command-message>review</command-message>\n<command-name>/review</command-name>"),
        user("u2", 0, [{"type": "text", "text": "Look at everything"}], isMeta=True),
        assistant("a1", 3, "m1", TEXT),
    )
    spans, _ = spans_in(path)
    assert [span.name for span in of_kind(spans, "command")] == ["/review"]
    assert of_kind(spans, "command")[0].attributes[c.COMMAND_OUTCOME] == "completed"


def test_a_message_counts_once_with_the_most_that_any_line_says(tmp_path):
    """Usage repeats on every line of a message: the largest count is taken, and marked unless the reply's end is told."""
    lines = [assistant(f"a{n}", n, "m1", TEXT) for n in (1, 2, 3)]
    for record, output in zip(lines, (1, 354, 2), strict=True):
        record["message"]["usage"] = record["message"]["usage"] | {"output_tokens": output}
    ended = assistant("a4", 4, "m2", TEXT)
    ended["message"]["stop_reason"] = "end_turn"
    spans, _ = spans_in(write(tmp_path / "s.jsonl", user("u1", 0, "go"), *lines, ended))
    first, second = of_kind(spans, "inference")
    assert (first.attributes[c.GEN_AI_USAGE_INPUT_TOKENS], first.attributes[c.GEN_AI_USAGE_OUTPUT_TOKENS]) == (100, 354)
    assert first.attributes[c.OUTPUT_LOWER_BOUND] is True
    assert c.OUTPUT_LOWER_BOUND not in second.attributes
    assert second.attributes[c.GEN_AI_RESPONSE_FINISH_REASONS] == ("end_turn",)


def test_thinking_lasts_from_what_came_before_it(tmp_path):
    """The first thought begins with the prompt, the next with the block before it, both below their model call."""
    thought = {"type": "thinking", "thinking": "hm"}
    path = write(
        tmp_path / "s.jsonl",
        user("u1", 0, "go"),
        assistant("a1", 4, "m1", thought),
        assistant("a2", 5, "m1", TEXT),
        assistant("a3", 7, "m1", thought),
    )
    spans, _ = spans_in(path)
    (asker,) = of_kind(spans, "inference")
    thoughts = of_kind(spans, "thinking")
    assert [((span.start_ns - asker.start_ns) / 1e9, (span.end_ns - asker.start_ns) / 1e9) for span in thoughts] == [
        (0, 4),
        (5, 7),
    ]
    assert all(span.parent_span_id == asker.span_id and span.attributes[c.DURATION_ESTIMATED] for span in thoughts)


def test_writing_calls_of_one_message_wait_for_each_other(tmp_path):
    """The second edit of a message starts when the first is done; reads beside each other do not wait."""
    path = write(
        tmp_path / "s.jsonl",
        user("u1", 0, "go"),
        assistant("a1", 1, "m1", call("t1", "Edit", file_path="/a")),
        assistant("a2", 2, "m1", call("t2", "Edit", file_path="/b")),
        user("r1", 5, [result("t1")]),
        user("r2", 6, [result("t2")]),
        assistant("a3", 7, "m2", call("t3", "Read", file_path="/a")),
        assistant("a4", 7.5, "m2", call("t4", "Read", file_path="/b")),
        user("r3", 9, [result("t3")]),
        user("r4", 9.5, [result("t4")]),
    )
    tools = {span.attributes[c.GEN_AI_TOOL_CALL_ID]: span for span in of_kind(spans_in(path)[0], "tool")}
    seconds = {key: (span.end_ns - span.start_ns) / 1e9 for key, span in tools.items()}
    assert seconds == {"t1": 4, "t2": 1, "t3": 2, "t4": 2}
    assert tools["t2"].attributes[c.DURATION_ESTIMATED] is True


def test_outcomes(tmp_path):
    """Interrupted, failed and abandoned prompts are told apart."""
    path = write(
        tmp_path / "s.jsonl",
        user("u1", 0, "one"),
        user("u2", 2, [{"type": "text", "text": "[Request interrupted by user]"}]),
        user("u3", 3, "two"),
        assistant(
            "a1", 4, "m1", {"type": "text", "text": "API Error: 529"}, isApiErrorMessage=True, error="overloaded"
        ),
        user("u4", 5, "three"),
        assistant("a2", 6, "m2", call("t1", "Bash", command="ls")),
    )
    spans, _ = spans_in(path)
    assert [span.attributes[c.COMMAND_OUTCOME] for span in of_kind(spans, "command")] == [
        "interrupted",
        "failed",
        "abandoned",
    ]
    assert of_kind(spans, "inference")[0].error_type == "overloaded"
    assert of_kind(spans, "tool")[0].error_type == "unfinished"


def test_resent_tokens_follow_the_conversation_and_begin_again_after_compaction(tmp_path):
    """Each call resends the input of the one before; after a compaction only what the cache proves."""
    boundary = {
        "type": "system",
        "subtype": "compact_boundary",
        "uuid": "b",
        "timestamp": "2026-03-01T10:00:05.000Z",
        "compactMetadata": {"trigger": "auto", "preTokens": 100},
    }
    path = write(
        tmp_path / "s.jsonl",
        user("u1", 0, "one"),
        assistant("a1", 1, "m1", TEXT),
        user("u2", 2, "two"),
        assistant("a2", 3, "m2", TEXT),
        boundary,
        user("u3", 6, "This session is continued", isCompactSummary=True),
        assistant("a3", 7, "m3", TEXT),
    )
    spans, _ = spans_in(path)
    assert [span.attributes[c.CONTEXT_RESENT_TOKENS] for span in of_kind(spans, "inference")] == [0, 100, 90]
    assert [event.name for span in spans for event in span.events] == ["compaction"]


@pytest.mark.parametrize("where", ["s1/subagents/agent-x1.jsonl", "agent-x1.jsonl"])
def test_a_subagents_own_file_joins_the_prompt_that_started_it(tmp_path, where):
    """Its calls hang below the Task call, with their own file as location, and are not read a second time."""
    main = write(
        tmp_path / "s1.jsonl",
        user("u1", 0, "go"),
        assistant("a1", 1, "m1", call("t1", "Task", prompt="look")),
        user("r1", 9, [result("t1")], toolUseResult={"agentId": "x1", "totalDurationMs": 7900}),
        assistant("a2", 10, "m2", TEXT),
    )
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    agent = write(
        tmp_path / where,
        user("u9", 2, "look", isSidechain=True, agentId="x1"),
        assistant("a9", 4, "m9", call("t9", "Grep", pattern="x"), isSidechain=True, agentId="x1"),
        user("r9", 5, [result("t9")], isSidechain=True, agentId="x1"),
    )
    spans, tally = spans_in(main, agent)
    tools = {span.attributes[c.GEN_AI_TOOL_CALL_ID]: span for span in of_kind(spans, "tool")}
    assert tools["t9"].parent_span_id == tools["t1"].span_id
    assert tools["t9"].location == f"{agent}:2"
    (asker,) = [span for span in of_kind(spans, "inference") if span.span_id == tools["t9"].attributes[c.REQUESTED_BY]]
    assert asker.parent_span_id == tools["t1"].span_id
    assert tools["t1"].attributes[c.TOOL_EXECUTION_TIME] == 7.9
    assert len(of_kind(spans, "command")) == 1
    assert len(of_kind(spans, "inference")) == 3
    assert not tally.problem_counts


def test_sidechain_lines_in_the_session_itself_hang_below_their_task(tmp_path):
    """Older sessions hold the subagent's lines between the Task call and its result."""
    path = write(
        tmp_path / "s.jsonl",
        user("u1", 0, "go"),
        assistant("a1", 1, "m1", call("t1", "Task", prompt="look"), call("t2", "Task", prompt="other")),
        user("u9", 2, "look", isSidechain=True, parentUuid=None),
        assistant("a9", 4, "m9", call("t9", "Grep", pattern="x"), isSidechain=True, parentUuid="u9"),
        user("r9", 5, [result("t9")], isSidechain=True, parentUuid="a9"),
        user("r1", 6, [result("t1")]),
    )
    spans, _ = spans_in(path)
    tools = {span.attributes[c.GEN_AI_TOOL_CALL_ID]: span for span in of_kind(spans, "tool")}
    assert tools["t9"].parent_span_id == tools["t1"].span_id
    assert len(of_kind(spans, "command")) == 1


def test_a_time_without_a_zone_is_utc_and_told_once(tmp_path):
    """Offsets are converted exactly; a time without one is taken as UTC and reported once a file."""
    lines = [
        user("u1", 0, "go") | {"timestamp": "2026-03-01T10:00:00"},
        assistant("a1", 1, "m1", TEXT) | {"timestamp": "2026-03-01T12:00:01.500+02:00"},
        assistant("a2", 2, "m2", TEXT) | {"timestamp": "2026-03-01 10:00:02"},
    ]
    spans, tally = spans_in(write(tmp_path / "s.jsonl", *lines))
    assert [round((span.end_ns - spans[0].start_ns) / 1e9, 3) for span in of_kind(spans, "inference")] == [1.5, 2.0]
    assert tally.problem_counts["naive_time"] == 1
