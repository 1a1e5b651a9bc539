"""Episodes of benchmarks read as chats, and folders without telemetry named for what they are."""

from __future__ import annotations

import json
from pathlib import Path

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Outcome, StepKind, ToolEffects
from otel_perfopt.signal.read.recorded import open_recorded


def runs_of(path: Path):
    source = open_recorded([path])
    return [run for batch in source.batches() for run in executions_of(batch)], source.tally


def test_actions_and_observations_are_calls_and_results(tmp_path: Path):
    """Each action is a call of the environment that a reply asked for; asking a database is apart from changing it."""
    turns = {
        "actions": ["SELECT 1", "UPDATE t SET a=1", "SELECT 1"],
        "observations": ["1", "", "1"],
        "rewards": [0, 0, 1.0],
    }
    one = {"environment": "ic_sql", "task_id": 7, "query": "how many?", "turn_history": turns}
    lost = {**one, "turn_history": {**turns, "rewards": [0, 0, 0]}}
    path = tmp_path / "ic_sql_multiturn_gpt-3.5_10_turns.json"
    path.write_text(json.dumps({"0": one, "1": lost}, indent=2))
    runs, tally = runs_of(path)
    assert [run.outcome for run in runs] == [Outcome.COMPLETED, Outcome.FAILED]
    tools = runs[0].of_kind(StepKind.TOOL)
    assert [(step.name, step.effects) for step in tools] == [
        ("query_sql", ToolEffects.READ), ("update_sql", ToolEffects.WRITE), ("query_sql", ToolEffects.READ),
    ]  # fmt: skip
    assert tools[0].arguments_digest == tools[2].arguments_digest != tools[1].arguments_digest
    assert {step.target.model for step in runs[0].of_kind(StepKind.INFERENCE)} == {"gpt-3.5"}
    assert not tally.problems


def test_code_between_tags_is_a_call(tmp_path: Path):
    """A reply with code in it asks for a call whose result is the next message; success is the reward."""
    history = [
        {"role": "user", "content": "task"},
        {"role": "assistant", "content": "<thought>t</thought><execute>print(1)</execute>"},
        {"role": "user", "content": "Observation:\n1"},
        {"role": "assistant", "content": "<solution>1</solution>"},
    ]
    folder = tmp_path / "gpt-4-0613"
    folder.mkdir()
    record = {"state": {"history": history, "success": False}, "task": {"task_id": 3}}
    (folder / "results.jsonl").write_text(json.dumps(record) + "\n")
    runs, _ = runs_of(tmp_path)
    assert runs[0].outcome is Outcome.FAILED
    assert [(step.kind, step.name) for step in runs[0].steps] == [
        (StepKind.INFERENCE, "gpt-4-0613"), (StepKind.TOOL, "python"), (StepKind.INFERENCE, "gpt-4-0613"),
    ]  # fmt: skip


def test_the_same_task_of_two_models_is_two_runs(tmp_path: Path):
    """Files of one name in the folders of two models do not become one another's spans."""
    for model in ("gpt-4", "gpt-3.5-turbo"):
        (tmp_path / model).mkdir()
        record = {"state": {"history": [{"role": "assistant", "content": "a"}]}, "task": {"task_id": 0}}
        (tmp_path / model / "results.jsonl").write_text(json.dumps(record) + "\n")
    runs, _ = runs_of(tmp_path)
    assert len({run.trace_id for run in runs}) == 2


def test_what_is_no_telemetry_is_named(tmp_path: Path):
    """Archives, tables and logs of requests each get one line that says what they are and what to do."""
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    (tmp_path / "b.csv").write_text("time,value\n1,2\n")
    assert [problem.kind for problem in runs_of(tmp_path)[1].problems] == ["empty_folder", "archive", "table"]
    log = tmp_path / "requests.jsonl"
    log.write_text('{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0]}\n')
    assert [problem.kind for problem in runs_of(log)[1].problems] == ["request_log"]
