from __future__ import annotations

import json
from collections import Counter

import pytest

from oracle import tau_bench
from otel_perfopt import conventions as c
from otel_perfopt.signal.read.trajectory import TrajectorySource

READ = {"role": "assistant", "content": None, "tool_calls": [
    {"id": "c1", "type": "function", "function": {"name": "get_user", "arguments": '{"user_id": "mia_li_3668"}'}},
    {"id": "c2", "type": "function", "function": {"name": "book_seat", "arguments": "{broken"}},
]}  # fmt: skip
CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "I am mia_li_3668"},
    READ,
    {"role": "tool", "tool_call_id": "c2", "content": "Error: no seat"},
    {"role": "tool", "tool_call_id": "c1", "content": '{"email": "mia@example.com", "id": "mia_li_3668"}'},
    {"role": "assistant", "content": "Done"},
]


def batches_of(path):
    source = TrajectorySource([path])
    return list(source.batches()), source.tally


def kinds(spans):
    return Counter(span.attributes[c.STEP_KIND] for span in spans)


def test_counts_agree_with_the_oracle(shared_data):
    """Calls, errors, repeats, tokens, resent tokens and outcomes over tau-bench agree with the oracle."""
    path = shared_data / "tau-bench" / "gpt-4o-airline.json.gz"
    batches, tally = batches_of(path)
    spans = [span for batch in batches for span in batch]
    expected = tau_bench.summary(path)
    tools = [span for span in spans if span.attributes[c.STEP_KIND] == "tool"]
    calls = [span for span in spans if span.attributes[c.STEP_KIND] == "inference"]
    repeats = 0
    for batch in batches:
        keys = [
            (span.name, span.attributes[c.ARGUMENTS_DIGEST])
            for span in batch
            if span.attributes.get(c.TOOL_EFFECTS) == "read"
        ]
        repeats += len(keys) - len(set(keys))
    outcomes = Counter(batch[0].attributes[c.COMMAND_OUTCOME] for batch in batches)
    asked = Counter(span.attributes[c.REQUESTED_BY] for span in tools)
    assert len(batches) == expected["trajectories"]
    assert outcomes["failed"] == expected["failed"]
    assert Counter(span.attributes[c.GEN_AI_TOOL_NAME] for span in tools) == expected["calls"]
    assert Counter(span.attributes[c.GEN_AI_TOOL_NAME] for span in tools if span.error_type) == expected["errors"]
    assert repeats == expected["repeats"]
    assert sum(count > 1 for count in asked.values()) == expected["parallel_messages"]
    assert len(calls) == expected["inferences"]
    assert sum(span.attributes[c.GEN_AI_USAGE_INPUT_TOKENS] for span in calls) == expected["input"]
    assert sum(span.attributes[c.GEN_AI_USAGE_OUTPUT_TOKENS] for span in calls) == expected["output"]
    assert sum(span.attributes[c.CONTEXT_RESENT_TOKENS] for span in calls) == expected["resent"]
    assert not tally.problem_counts


@pytest.mark.parametrize(
    ("text", "chats"),
    [
        (json.dumps(CHAT), 1),
        (json.dumps(CHAT, indent=1), 1),
        (json.dumps({"messages": CHAT}), 1),
        (json.dumps({"id": 7, "messages": CHAT}, indent=2), 1),
        ("\n".join([json.dumps({"messages": CHAT})] * 3), 3),
        ("\n".join([json.dumps(CHAT)] * 2), 2),
        (json.dumps([{"task_id": n, "reward": n, "traj": CHAT} for n in range(4)]), 4),
        (json.dumps([CHAT, CHAT]), 2),
    ],
)
def test_every_way_to_write_chats_is_read(tmp_path, text, chats):
    """Arrays, objects and lines, laid out or not, give the same spans for each chat."""
    path = tmp_path / "chats.json"
    path.write_text(text)
    batches, tally = batches_of(path)
    assert [kinds(batch) for batch in batches] == [{"command": 1, "inference": 2, "tool": 2}] * chats
    assert len({batch[0].trace_id for batch in batches}) == chats
    assert not tally.problem_counts


def test_a_chat_says_that_it_has_no_clock_and_only_estimates(tmp_path):
    """The command is untimed, token counts and durations are marked, and calls of one reply share their time."""
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(CHAT))
    (spans,), _ = batches_of(path)
    command, first, second, *tools = spans
    assert command.attributes[c.UNTIMED] is True
    assert [span.attributes[c.TOKENS_ESTIMATED] for span in (first, second)] == [True, True]
    assert [span.attributes[c.CONTEXT_RESENT_TOKENS] for span in (first, second)] == [
        0,
        first.attributes[c.GEN_AI_USAGE_INPUT_TOKENS],
    ]
    assert {(tool.start_ns, tool.end_ns) for tool in tools} == {(first.end_ns, second.start_ns)}
    assert [tool.attributes[c.TOOL_EFFECTS] for tool in tools] == ["read", "write"]
    assert [tool.error_type for tool in tools] == [None, "tool_error"]
    assert tools[0].attributes[c.TOOL_RESOURCE] == "user_id=mia_li_3668"


def test_what_a_result_repeats_of_its_arguments_did_not_come_from_it(tmp_path):
    """The echoed user id is an input of the call and no output; the e-mail address is an output."""
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(CHAT))
    (spans,), _ = batches_of(path)
    tool = spans[3]
    assert len(tool.attributes[c.DATAFLOW_INPUTS]) == 1
    assert len(tool.attributes[c.DATAFLOW_OUTPUTS]) == 1
    assert set(tool.attributes[c.DATAFLOW_INPUTS]) <= set(spans[0].attributes[c.DATAFLOW_OUTPUTS])


def test_a_broken_chat_costs_only_itself(tmp_path):
    """One damaged element of an array is reported with its line, and the others are read."""
    chats = [json.dumps({"task_id": n, "traj": CHAT}) for n in range(4)]
    chats[1] = chats[1][:100] + "\x01" + chats[1][120:]
    path = tmp_path / "chats.json"
    path.write_text("[" + ",\n".join(chats) + "]")
    batches, tally = batches_of(path)
    assert len(batches) == 3
    assert [(problem.kind, problem.line) for problem in tally.problems] == [("broken_json", 2)]
