from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterable

from otel_perfopt.measure.store.importer import Imported, import_recorded
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store
from otel_perfopt.measure.store.writers import writers
from otel_perfopt.signal.read.recorded import open_recorded
from store.otlp import line, write_runs
from store.records import run


def stored(store: TelemetryStore) -> dict:
    """Return every row's record; a span that stands twice fails."""
    rows = store.connection.rows("SELECT count(), uniqExact(TraceId, SpanId) FROM otel_traces")[0]
    assert rows[0] == rows[1]
    return {(span.trace_id, span.span_id): span for batch in StoreSource(store).batches() for span in batch}


def identities(runs: Iterable) -> set:
    return {(span.trace_id, span.span_id) for spans in runs for span in spans}


def outcome(imported: Imported) -> tuple[int, int, int]:
    return imported.appended.added, imported.appended.replaced, imported.unchanged_files


def test_a_file_is_imported_once(store, tmp_path):
    """The second import finds nothing new, and what is stored is what reading the file gives."""
    path = tmp_path / "agent.jsonl"
    write_runs(path, [run(number) for number in range(20)])
    assert outcome(import_recorded(store, [path])) == (80, 0, 0)
    assert outcome(import_recorded(store, [path])) == (0, 0, 1)
    read = {(span.trace_id, span.span_id): span for batch in open_recorded([path]).batches() for span in batch}
    assert stored(store) == read


def test_a_growing_file_is_read_on_and_its_torn_tail_waits(store, tmp_path):
    """Only what was appended is read; half a line is imported when it is whole, and is no problem before."""
    path = tmp_path / "agent.jsonl"
    write_runs(path, [run(0), run(1)])
    torn = line(run(2))
    with path.open("ab") as file:
        file.write(torn[:100])
    first = import_recorded(store, [path])
    assert outcome(first) == (8, 0, 0)
    assert not first.tally.problem_counts
    with path.open("ab") as file:
        file.write(torn[100:] + line(run(3)))
    second = import_recorded(store, [path])
    assert outcome(second) == (8, 0, 0)
    assert second.tally.lines == 2
    assert stored(store).keys() == identities(run(number) for number in range(4))


def test_a_last_line_without_its_end_counts_once(store, tmp_path):
    """A file that ends without a newline is imported whole, and once when more follows."""
    path = tmp_path / "agent.jsonl"
    path.write_bytes(line(run(0)) + line(run(1)).rstrip(b"\n"))
    assert outcome(import_recorded(store, [path])) == (8, 0, 0)
    with path.open("ab") as file:
        file.write(b"\n" + line(run(2)))
    assert outcome(import_recorded(store, [path])) == (4, 0, 0)
    assert stored(store).keys() == identities(run(number) for number in range(3))


def test_rotation_moves_and_copies_do_not_double(store, tmp_path):
    """A renamed file is known, a copy adds nothing, and another file with the same first line is read."""
    path = tmp_path / "agent.jsonl"
    write_runs(path, [run(0), run(1)])
    import_recorded(store, [path])
    rotated = path.rename(tmp_path / "agent-1.jsonl")
    write_runs(path, [run(2)])
    assert outcome(import_recorded(store, [tmp_path])) == (4, 0, 1)
    (tmp_path / "copy.jsonl").write_bytes(rotated.read_bytes())
    write_runs(tmp_path / "twin.jsonl", [run(0), run(5), run(6)])
    assert import_recorded(store, [tmp_path]).appended.added == 8
    assert stored(store).keys() == identities(run(number) for number in (0, 1, 2, 5, 6))


def test_a_packed_file_is_known_by_its_content(store, tmp_path):
    """A gzip file is imported whole, once, wherever it lies."""
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "agent.jsonl.gz"
    path.write_bytes(gzip.compress(line(run(0)) + line(run(1))))
    assert outcome(import_recorded(store, [path])) == (8, 0, 0)
    assert outcome(import_recorded(store, [path.rename(tmp_path / "b.jsonl.gz")])) == (0, 0, 1)


def test_broken_lines_are_counted_and_the_rest_is_imported(store, tmp_path):
    """A line that is no JSON and a span without an id are problems with their place."""
    path = tmp_path / "agent.jsonl"
    broken = json.loads(line(run(1)))
    broken["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"] = "nonsense"
    path.write_bytes(line(run(0)) + b'{"resourceSpans": [{"x\n' + json.dumps(broken).encode() + b"\n" + line(run(2)))
    imported = import_recorded(store, [path])
    assert imported.appended.added == 4 + 3 + 4
    assert dict(imported.tally.problem_counts) == {"broken_line": 1, "broken_span": 1}
    assert {problem.line for problem in imported.tally.problems} == {2, 3}


def test_a_span_that_lasted_longer_takes_the_shorter_ones_place(store):
    """Of two states of one span the longer stays, in whatever order they come; another name or start is no other span."""
    short, long = run(0, tools=1), run(0, tools=3)
    store.append(short)
    changed = store.append(long)
    assert (changed.added, changed.known, changed.replaced) == (2, 1, 1)
    again = store.append(short)
    assert (again.added, again.known, again.replaced) == (0, 2, 0)
    assert stored(store) == {(span.trace_id, span.span_id): span for span in long}
    assert not writers(store.connection)


def test_a_growing_transcript_ends_as_if_it_were_read_once(store, tmp_path, shared_data):
    """Imported after every few lines, a session gives the spans that reading it once gives."""
    session = min(shared_data.glob("claude-code/*.jsonl.gz"), key=lambda path: path.stat().st_size)
    lines = gzip.decompress(session.read_bytes()).splitlines(keepends=True)
    path = tmp_path / "project" / f"{session.name.split('.')[0]}.jsonl"
    path.parent.mkdir()
    for part in range(1, 5):
        path.write_bytes(b"".join(lines[: len(lines) * part // 4]))
        import_recorded(store, [path.parent])
    read = {(span.trace_id, span.span_id): span for batch in open_recorded([path]).batches() for span in batch}
    found = stored(store)
    assert found.keys() == read.keys()
    assert {key: span.end_ns for key, span in found.items()} == {key: span.end_ns for key, span in read.items()}


def test_everything_that_can_be_read_can_be_imported(store, shared_data):
    """All recordings in one import: the same spans as one reading, a second import changes nothing."""
    folders = [shared_data / name for name in ("claude-code", "tau-bench", "intercode")]
    read = {(span.trace_id, span.span_id) for batch in open_recorded(folders).batches() for span in batch}
    seen = []
    imported = import_recorded(store, folders, lambda done, total: seen.append((done, total)))
    assert stored(store).keys() == read
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0
    again = import_recorded(store, folders)
    assert again.appended.added == again.appended.replaced == 0
    assert again.unchanged_files == imported.tally.files


def test_two_importers_at_once_leave_every_span_once(tmp_path):
    """Two connections import the same files at the same time: no span is missing and none stands twice."""
    for number in range(4):
        write_runs(tmp_path / f"agent-{number}.jsonl", [run(number * 50 + place) for place in range(50)])
    with open_store(tmp_path / "store") as one, open_store(tmp_path / "store") as other:
        barrier = threading.Barrier(2)
        failures = []

        def work(store):
            try:
                barrier.wait()
                import_recorded(store, [tmp_path])
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(each,)) for each in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert stored(one).keys() == identities(run(number) for number in range(200))
        assert not writers(one.connection)
