from __future__ import annotations

import json
from collections import Counter

import pytest

from oracle import lmcache
from otel_perfopt import conventions as c
from otel_perfopt.signal.read.prompt_trace import PromptTraceSource
from otel_perfopt.signal.read.prompt_trace_spans import shared_prefix


def batches_of(path):
    source = PromptTraceSource([path])
    return list(source.batches()), source.tally


@pytest.mark.parametrize("folder", ["miniswe", "magagent", "taubench"])
def test_counts_agree_with_the_oracle(shared_data, folder):
    """Calls, commands, repeats, tokens and resent tokens agree with the oracle, file by file."""
    paths = sorted((shared_data / "lmcache-agent-trace" / folder).glob("*.gz"))
    assert paths
    for path in paths:
        batches, _ = batches_of(path)
        expected = Counter(lmcache.summary(path))
        spans = [span for batch in batches for span in batch]
        calls = [span for span in spans if span.attributes[c.STEP_KIND] == "inference"]
        tools = [span for span in spans if span.attributes[c.STEP_KIND] == "tool"]
        digests = [span.attributes[c.ARGUMENTS_DIGEST] for span in tools]
        assert len(calls) == expected["inferences"]
        assert len(tools) == expected["commands"]
        assert sum(span.error_type is not None for span in tools) == expected["failed_commands"]
        assert len(digests) - len(set(digests)) == expected["repeats"]
        assert sum(span.attributes[c.GEN_AI_USAGE_INPUT_TOKENS] for span in calls) == expected["input"]
        assert sum(span.attributes[c.GEN_AI_USAGE_OUTPUT_TOKENS] for span in calls) == expected["output"]
        assert sum(span.attributes[c.CONTEXT_RESENT_TOKENS] for span in calls) == expected["resent"]
        durations = [span.end_ns - span.start_ns for span in spans if span.attributes[c.STEP_KIND] == "command"]
        assert sum(durations) == expected["microseconds"] * 1000


def test_sessions_that_interleave_are_told_apart(tmp_path):
    """Rows of two sessions in one file, out of order, become two traces in order of time."""
    rows = [(5, "b", "x"), (3, "a", "p"), (9, "a", "pq"), (1, "b", "y")]
    lines = [{"timestamp": t, "input": text, "output": "o", "session_id": name} for t, name, text in rows]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"timestamp": "x", "input": 1}\n')
    batches, tally = batches_of(path)
    assert [batch[0].attributes[c.GEN_AI_CONVERSATION_ID] for batch in batches] == ["a", "b"]
    assert [[span.start_ns for span in batch] for batch in batches] == [[3000, 3000, 9000], [1000, 1000, 5000]]
    assert [(problem.kind, problem.line) for problem in tally.problems] == [("malformed_record", 5)]


@pytest.mark.parametrize(
    ("left", "right", "shared"), [("", "a", 0), ("abc", "abd", 2), ("abc", "abc", 3), ("xb", "ab", 0)]
)
def test_shared_prefix(left, right, shared):
    """The common beginning is counted exactly."""
    assert shared_prefix(left, right) == shared
