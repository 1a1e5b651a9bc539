"""Room 2 on recorded telemetry: what must hold of every real run, and counts made another way."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import pytest

from otel_perfopt.execution.critical_path import critical_path, self_times
from otel_perfopt.execution.data_flow import adjacent_reads, dependencies
from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.parallelism import parallelism
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.execution.schedule import Changes, replay
from otel_perfopt.signal.read.trajectory import TrajectorySource
from otel_perfopt.signal.read.transcript import TranscriptSource


@pytest.fixture(scope="module")
def sessions(shared_data):
    """Runs of the Claude Code sessions."""
    files = sorted((shared_data / "claude-code").glob("*.jsonl.gz"))
    return list(RecordedExecutions(TranscriptSource(files)).executions())


@pytest.fixture(scope="module")
def trajectories(shared_data):
    """Runs of the tau-bench trajectories."""
    return list(
        RecordedExecutions(TrajectorySource([shared_data / "tau-bench" / "gpt-4o-airline.json.gz"])).executions()
    )


def test_every_real_run_keeps_the_invariants(sessions, trajectories):
    """Paths tile the run, replay is the identity, overlap is bounded, and what-ifs only save."""
    for execution in [*sessions, *trajectories]:
        length = execution.command.end_ns - execution.command.start_ns
        assert sum(segment.length_ns for segment in critical_path(execution)) == length
        assert sum(self_times(execution).values()) >= length
        assert replay(execution).duration_ns == length
        needs = dependencies(execution)
        found = parallelism(execution, depends=needs).tools
        assert found.across_replies_ns <= found.elapsed_ns <= found.busy_ns
        replies = frozenset(step.requested_by for step in execution.of_kind(StepKind.TOOL))
        assert replay(execution, Changes(parallel_replies=replies), depends=needs).saved_ns >= 0


def test_tool_calls_of_trajectories_agree_with_the_raw_messages(shared_data, trajectories):
    """Counting calls and exact repeats in the JSON itself gives the same numbers."""
    raw = json.loads(gzip.decompress((shared_data / "tau-bench" / "gpt-4o-airline.json.gz").read_bytes()))
    calls, repeats = Counter(), 0
    for item in raw:
        seen = set()
        for message in item["traj"]:
            for call in message.get("tool_calls") or ():
                function = call["function"]
                calls[function["name"]] += 1
                key = function["name"], json.dumps(json.loads(function["arguments"]), sort_keys=True)
                repeats += key in seen and function["name"].startswith(("get_", "search_", "list_"))
                seen.add(key)
    steps = [step for execution in trajectories for step in execution.of_kind(StepKind.TOOL)]
    assert Counter(step.name for step in steps) == calls
    memory = Repetitions()
    found = [
        r for e in trajectories for r in memory.observe(e).repeats if r.step.name.startswith(("get", "sea", "lis"))
    ]
    # A repeat after a failure is a retry here and a repeat in the plain count.
    retried = sum(step.error_type is not None for step in steps)
    assert repeats - retried <= len(found) <= repeats


def test_most_adjacent_reads_are_independent(sessions, trajectories):
    """As published for the whole sets (65 % and 82 %), most adjacent reads use nothing of one another."""
    for runs, least in ((sessions, 100), (trajectories, 250)):
        pairs = [pair for execution in runs for pair in adjacent_reads(execution)]
        share = sum(pair.independent for pair in pairs) / len(pairs)
        assert len(pairs) >= least
        assert 0.6 < share < 0.9


def test_rereads_of_files_are_frequent_and_exact_repeats_are_rare(sessions):
    """Half of the reads that name a file revisit one; few calls repeat exactly, fewer still with no write between."""
    memory = Repetitions()
    seen = [memory.observe(execution) for execution in sorted(sessions, key=lambda e: e.command.start_ns)]
    reads = sum(found.resource_reads for found in seen)
    rereads = sum(len(found.rereads) for found in seen)
    repeats = sum(len(found.repeats) for found in seen)
    safe = sum(repeat.safe for found in seen for repeat in found.repeats)
    calls = sum(found.read_calls for found in seen)
    assert 0.3 < rereads / reads < 0.8
    assert safe <= repeats < 0.2 * calls
