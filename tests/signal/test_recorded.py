from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_perfopt import conventions as c
from otel_perfopt.signal.read.recorded import open_recorded
from otel_perfopt.signal.read.seen import SeenIds
from otel_perfopt.signal.read.sniff import OTLP, PROMPT_TRACE, TRAJECTORY, TRANSCRIPT, sniff

USER = {
    "type": "user",
    "uuid": "u1",
    "sessionId": "s1",
    "timestamp": "2026-03-01T10:00:00.000Z",
    "message": {"role": "user", "content": "go"},
}
ROW = {"timestamp": 1760428436442742, "input": "p", "output": "o", "session_id": "s"}
CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
SPAN = {
    "traceId": "0" * 31 + "1",
    "spanId": "0" * 15 + "1",
    "name": "chat m",
    "startTimeUnixNano": "5",
    "endTimeUnixNano": "7",
}
EXPORT = {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]}


def read(*paths, **options):
    source = open_recorded(list(paths), **options)
    return [span for batch in source.batches() for span in batch], source.tally


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (json.dumps(EXPORT), OTLP),
        ('{"resourceLogs": []}', OTLP),
        (json.dumps(USER), TRANSCRIPT),
        ('{"type": "summary", "summary": "x", "leafUuid": "y"}', TRANSCRIPT),
        ('{"type": "file-history-snapshot", "messageId": "m", "snapshot": {}}', TRANSCRIPT),
        ('{"parentUuid": "cut off\n' + json.dumps(USER), TRANSCRIPT),
        (json.dumps(ROW), PROMPT_TRACE),
        (json.dumps(CHAT), TRAJECTORY),
        (json.dumps(CHAT, indent=2), TRAJECTORY),
        (json.dumps([{"task_id": 1, "reward": 0, "traj": CHAT}]), TRAJECTORY),
        (json.dumps({"messages": CHAT}), TRAJECTORY),
        ("\ufeff" + json.dumps({"messages": CHAT}), TRAJECTORY),
        (json.dumps([{"task_id": 1, "traj": [{"role": "user", "content": "x" * (2 << 20)}]}]), TRAJECTORY),
    ],
)
def test_formats_are_told_by_content(tmp_path, text, kind):
    """A misleading name, gzip, a cut first line, an element larger than what is looked at: the format is told."""
    plain, packed = tmp_path / "x.txt", tmp_path / "y"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    assert [sniff(plain).kind, sniff(packed).kind] == [kind, kind]


BROKEN = {
    "empty.jsonl": (b"", "empty_file"),
    "blank.jsonl": (b"\n\n \n", "empty_file"),
    "image.json": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary_file"),
    "packed.jsonl": (b"\x28\xb5\x2f\xfd\x04\x00", "binary_file"),
    "other.json": (b'{"a": 1}', "unknown_format"),
    "prose.jsonl": (b"dear diary\n", "unknown_format"),
    "cut.jsonl.gz": (gzip.compress(os.urandom(4000))[:15], "truncated_gzip"),
    "bad.jsonl.gz": (b"\x1f\x8b" + b"x" * 40, "corrupt_gzip"),
}


def test_what_cannot_be_read_is_told_and_costs_nothing_else(tmp_path):
    """Each kind of unreadable file gives its own problem with the file's name, and the good file beside is read."""
    for name, (data, _) in BROKEN.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.jsonl").write_text(json.dumps(EXPORT))
    spans, tally = read(tmp_path)
    assert len(spans) == 1
    assert {Path(problem.path).name: problem.kind for problem in tally.problems} == {
        name: kind for name, (_, kind) in BROKEN.items()
    }
    unknown = next(str(problem) for problem in tally.problems if problem.path.endswith("other.json"))
    assert "other.json:1" in unknown
    assert "OTLP JSON lines" in unknown


def test_missing_and_empty_places_are_told(tmp_path):
    """A path that is not there and a folder without telemetry are problems, not exceptions."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.md").write_text("x")
    spans, tally = read(tmp_path / "nothing.jsonl", tmp_path / "folder")
    assert not spans
    assert [problem.kind for problem in tally.problems] == ["missing_file", "empty_folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(tmp_path):
    """A file that may not be read is a problem with its name."""
    path = tmp_path / "a.jsonl"
    path.write_text("{}")
    path.chmod(0)
    _, tally = read(path)
    assert [problem.kind for problem in tally.problems] == ["unreadable_file"]


def test_a_folder_in_place_of_a_file_and_a_dangling_link_are_told(tmp_path):
    """What the system refuses to open is a problem whoever runs this."""
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone")
    _, tally = read(tmp_path / "a.jsonl")
    assert [problem.kind for problem in tally.problems] == ["unreadable_file"]


def test_a_gzip_cut_in_the_middle_keeps_what_came_before(tmp_path):
    """Lines before the cut are read; the place of the cut is told."""
    lines = "".join(
        json.dumps(ROW | {"timestamp": 10**15 + n, "output": os.urandom(60).hex()}) + "\n" for n in range(400)
    )
    whole = gzip.compress(lines.encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    spans, tally = read(path)
    assert 100 < len(spans) < 400
    problem = tally.problems[-1]
    assert problem.kind == "truncated_gzip"
    assert problem.line > 100


def test_a_mixed_folder_is_read_whole_with_progress(tmp_path, shared_data):
    """All formats in subfolders, plain and gzip, come through one source; progress ends at the total."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    session = max((shared_data / "claude-code").glob("*.gz"))
    shutil.copy(session, tmp_path / "a" / "b" / session.name)
    (tmp_path / "chat.json").write_text(json.dumps(CHAT))
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROW))
    (tmp_path / "a" / "export.jsonl").write_text(json.dumps(EXPORT))
    steps = []
    spans, tally = read(tmp_path, tmp_path / "chat.json", on_progress=lambda done, total: steps.append((done, total)))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    services = Counter(span.resource.get(c.SERVICE_NAME, "") for span in spans)
    assert set(services) == {"claude-code", "chat-trajectory", "prompt-trace", ""}
    assert services["chat-trajectory"] == 2
    assert tally.files == 4
    assert steps == sorted(steps)
    assert steps[-1] == (size, size)
    assert not tally.problem_counts


def test_seen_ids_are_exact_and_bounded():
    """Every id is new once, through growth; a generation later the oldest are forgotten."""
    seen = SeenIds(generation=10_000)
    assert all(seen.add(f"id {number}") for number in range(9_999))
    assert not any(seen.add(f"id {number}") for number in range(9_999))
    assert all(seen.add(f"more {number}") for number in range(20_000))
    assert seen.add("id 5")


# --- nothing that is read can raise ---------------------------------------------------------------

TOLERANT = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def valid_files(shared_data):
    """The raw bytes of one small file of each format."""
    with gzip.open(min((shared_data / "claude-code").glob("e5f*"))) as file:
        session = b"".join(file.readlines()[:60])
    with gzip.open(sorted((shared_data / "lmcache-agent-trace" / "miniswe").glob("*"))[2]) as file:
        rows = file.read()
    export = "\n".join(json.dumps(EXPORT) for _ in range(8)).encode()
    chats = json.dumps([{"task_id": number, "reward": 1, "traj": CHAT} for number in range(8)]).encode()
    return {"session": session, "rows": rows, "export": export, "chats": chats}


@TOLERANT
@given(st.data())
def test_any_bytes_are_survived_and_told(tmp_path, data):
    """Whatever a file holds, reading it does not raise, and a file that gives nothing is told of."""
    path = tmp_path / "any.jsonl"
    path.write_bytes(data.draw(st.binary(max_size=300)))
    spans, tally = read(path)
    assert spans or tally.problem_counts


@TOLERANT
@given(st.data())
def test_any_json_in_the_place_of_records_is_survived(tmp_path, data):
    """Records of the right kind with values of any shape in any field are read or told, never raised."""
    anything = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
        max_leaves=12,
    )
    base = data.draw(
        st.sampled_from([USER, USER | {"type": "assistant"}, USER | {"type": "progress"}, ROW, EXPORT, *CHAT])
    )
    changed = base | data.draw(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=4))
    path = tmp_path / "odd.jsonl"
    path.write_text("\n".join(json.dumps(item) for item in (base, changed, changed | {"uuid": "u2"})))
    _, tally = read(path)
    assert tally.lines > 0


FIELDS = [
    "type",
    "uuid",
    "message",
    "content",
    "role",
    "id",
    "usage",
    "input_tokens",
    "model",
    "timestamp",
    "sessionId",
    "name",
    "input",
    "text",
    "tool_use_id",
    "is_error",
    "isSidechain",
    "agentId",
    "data",
    "parentToolUseID",
    "toolUseResult",
    "subtype",
    "durationMs",
    "stop_reason",
    "tool_calls",
    "function",
    "arguments",
    "tool_call_id",
    "traj",
    "messages",
    "output",
    "session_id",
    "resourceSpans",
    "scopeSpans",
    "spans",
    "scope",
    "resource",
    "attributes",
    "key",
    "value",
    "intValue",
    "arrayValue",
    "values",
    "events",
    "status",
    "code",
    "traceId",
    "spanId",
    "startTimeUnixNano",
]


@TOLERANT
@given(st.data())
def test_any_cut_loses_only_what_is_cut(tmp_path, valid_files, data):
    """A file cut anywhere gives no more than the whole, keeps what stands on whole lines, and tells of the cut line."""
    name = data.draw(st.sampled_from(sorted(valid_files)))
    whole = valid_files[name]
    cut = whole[: data.draw(st.integers(min_value=40, max_value=len(whole)))]
    full, part = tmp_path / "full.jsonl", tmp_path / "part.jsonl"
    full.write_bytes(whole)
    part.write_bytes(cut)
    every, _ = read(full)
    some, tally = read(part)
    assert len(some) <= len(every)
    last = cut.rsplit(b"\n", 1)[-1].strip()
    if name != "chats" and last and last not in whole.split(b"\n") and len(some) > 0:
        assert tally.problem_counts


@TOLERANT
@given(st.data())
def test_any_order_of_lines_keeps_every_call(tmp_path, valid_files, data):
    """Lines in any order give the same model calls, and tool calls, as far as each stands on a line of its own."""
    name = data.draw(st.sampled_from(["session", "rows", "export"]))
    lines = valid_files[name].splitlines()
    random.Random(data.draw(st.integers())).shuffle(lines)
    straight, shuffled = tmp_path / "straight.jsonl", tmp_path / "shuffled.jsonl"
    straight.write_bytes(valid_files[name])
    shuffled.write_bytes(b"\n".join(lines))
    expected, _ = read(straight)
    found, tally = read(shuffled)

    def ids(spans, kind):
        return {span.span_id for span in spans if span.attributes.get(c.STEP_KIND) == kind}

    assert ids(found, "inference") == ids(expected, "inference")
    assert ids(found, "tool") == ids(expected, "tool")
    assert set(tally.problem_counts) <= {"unmatched_result"}
