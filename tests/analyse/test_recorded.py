"""On recorded sessions the analysis agrees with counts made another way, and its findings keep to the rules."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict

import pytest

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.signal.read.recorded import open_recorded
from otel_perfopt.signal.tool_effects import READ, claude_code_effects, verb_effects

FOLDERS = ("claude-code", "tau-bench", "lmcache-agent-trace")


@pytest.fixture(scope="module")
def analyses(shared_data):
    """One analysis of each recorded set."""
    return {name: analyse(RecordedExecutions(open_recorded([shared_data / name]))) for name in FOLDERS}


@pytest.fixture(scope="module")
def raw_sessions(shared_data):
    """By session file, the (message id, tool use) pairs in order, each use once: read with nothing but json."""
    sessions = {}
    decoder = json.JSONDecoder()
    for path in sorted((shared_data / "claude-code").glob("*.gz")):
        uses, seen = [], set()
        for line in gzip.decompress(path.read_bytes()).decode().split("\n"):
            place = 0
            while place < len(line.rstrip()):  # two records may be glued together on one line
                record, place = decoder.raw_decode(line, place)
                for message, part in tool_uses(record):
                    if part["id"] not in seen:
                        seen.add(part["id"])
                        uses.append((message, part))
        sessions[path.name] = uses
    return sessions


def tool_uses(value):
    """Every tool use below a value with the id of the message it is in; a subagent's messages lie deeper."""
    if isinstance(value, list):
        for item in value:
            yield from tool_uses(item)
    elif isinstance(value, dict):
        content = value.get("content")
        if value.get("role") == "assistant" and isinstance(content, list):
            yield from ((value.get("id"), part) for part in content if part.get("type") == "tool_use")
        for item in value.values():
            yield from tool_uses(item)


def test_calls_by_tool_are_those_of_the_transcripts(analyses, raw_sessions):
    """Every tool has as many calls as the raw records say."""
    raw = Counter(use["name"] for uses in raw_sessions.values() for _, use in uses)
    assert {row.name: row.count for row in analyses["claude-code"].tools} == dict(raw)


def test_parallel_replies_are_those_of_the_transcripts(analyses, raw_sessions):
    """Replies that ask for several tools, and the calls in them, as grouped by message id."""
    replies = Counter(message for uses in raw_sessions.values() for message, _ in uses)
    several = [count for count in replies.values() if count > 1]
    found = analyses["claude-code"].parallelism
    assert found.replies_with_tools == len(replies)
    assert found.replies_with_several == len(several)
    assert found.calls_in_several == sum(several)


def test_rereads_are_those_of_the_transcripts(analyses, raw_sessions):
    """Reads of a file already read in the session, by its path."""
    reads = rereads = 0
    for uses in raw_sessions.values():
        paths = [use["input"]["file_path"] for _, use in uses if use["name"] == "Read"]
        reads += len(paths)
        rereads += len(paths) - len(set(paths))
    found = analyses["claude-code"].repetition
    assert found.reads == reads
    # A first read that failed is none: what follows it is no re-read.
    assert rereads - 8 <= found.rereads <= rereads


def test_the_figures_of_the_whole_set_come_back_in_kind(analyses):
    """Cache reads, parallel messages, next tool, independent pairs, exact repeats: near those of all 273 sessions."""
    found = analyses["claude-code"]
    assert found.context.cache_read_share == pytest.approx(0.958, abs=0.03)
    assert found.parallelism.parallel_reply_share == pytest.approx(0.109, abs=0.04)
    assert found.next_steps.tool_top1_accuracy == pytest.approx(0.49, abs=0.08)
    assert found.parallelism.independent_share == pytest.approx(0.65, abs=0.2)
    assert found.repetition.safe_share < 0.02
    assert analyses["tau-bench"].context.resend_factor == pytest.approx(9.5, abs=0.5)


def test_tau_bench_repeats_are_those_of_the_trajectories(analyses, shared_data):
    """Repeats of reading tools with equal arguments, counted from the raw messages."""
    repeats = 0
    for run in json.loads(gzip.decompress((shared_data / "tau-bench" / "gpt-4o-airline.json.gz").read_bytes())):
        seen = defaultdict(set)
        for message in run["traj"]:
            for call in message.get("tool_calls") or []:
                name = call["function"]["name"]
                arguments = json.dumps(json.loads(call["function"]["arguments"]), sort_keys=True)
                repeats += verb_effects(name) == READ and arguments in seen[name]
                seen[name].add(arguments)
    assert analyses["tau-bench"].repetition.repeats == repeats


def test_no_suggestion_touches_a_tool_that_may_write(analyses):
    """A cache, a preload, a batch is only ever suggested for tools that read."""
    for finding in analyses["claude-code"].findings:
        if finding.suggestion is not None:
            for tool in finding.suggestion.match.get("tool", ()):
                assert claude_code_effects(tool) == READ, finding.summary


def test_every_finding_can_be_followed_up(analyses):
    """One sentence, evidence that says where to look, a size, and no saving beyond the whole."""
    for analysis in analyses.values():
        assert analysis.findings
        for finding in analysis.findings:
            assert finding.summary.endswith(".")
            assert finding.evidence
            assert all(item.location and item.trace_id for item in finding.evidence)
            assert finding.effect.relative is not None
            if finding.saving is not None:
                assert 0 <= finding.saving.low <= finding.saving.estimate <= finding.saving.high <= 1


def test_times_add_up(analyses):
    """The shares of the runs' time sum to one, and commands' time is all of it."""
    for name in ("claude-code", "lmcache-agent-trace"):
        analysis = analyses[name]
        assert sum(share.share for share in analysis.time_shares) == pytest.approx(1.0)
        assert sum(row.total_s for row in analysis.commands) == pytest.approx(analysis.counts.run_time_s)
