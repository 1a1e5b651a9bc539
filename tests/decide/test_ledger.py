"""The ledger keeps what it acknowledged, tells when it was changed, and survives crashes and full disks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.decide.ledger import REPAIR_EVENT, Ledger, LedgerMovedError
from otel_perfopt.decide.ledger_entry import FIRST_PREVIOUS, LedgerEntry, entry_from_line
from otel_perfopt.errors import LedgerError

NOW_NS = 1_795_000_000_123_456_789


def entry(reason: str = "because", **changes) -> LedgerEntry:
    return LedgerEntry(
        **{"time_ns": NOW_NS, "actor": "alice", "event": "note", "policy": "p", "reason": reason, **changes}
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


def test_entries_come_back_as_they_went_in(ledger: Ledger):
    """Another reader sees the same entries, chained from the first, with nanoseconds intact."""
    written = ledger.append(entry("one", details={"step": 1}), entry("two"))
    read = Ledger(ledger.path).refresh()
    assert read == written
    assert [item.sequence for item in read] == [1, 2]
    assert read[0].previous == FIRST_PREVIOUS
    assert read[1].previous == read[0].hash
    assert read[0].time_ns == NOW_NS
    assert ledger.verify().hash == read[1].hash


@given(st.text(max_size=50), st.dictionaries(st.text(max_size=5), st.integers(-(2**53) + 1, 2**53 - 1), max_size=3))
def test_any_text_survives_a_line(reason: str, details: dict):
    """Whatever people write, surrogates aside, an entry's line reads back equal and is one line."""
    try:
        placed = entry(reason, details=details).chained(1, FIRST_PREVIOUS)
        line = placed.to_line()
    except ValueError:
        return
    assert line.count(b"\n") == 1
    assert entry_from_line(line[:-1]) == placed


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace(b"one", b"owe"), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [lines[0].replace(b'"actor"', b'"actor" '), *lines[1:]],
        lambda lines: [b"\x00" * 20, *lines[1:]],
        lambda lines: [b"[" * 100_000, *lines[1:]],
        lambda lines: [*lines, lines[2]],
    ],
    ids=["changed", "first cut", "middle cut", "swapped", "reformatted", "zeroed", "nested", "repeated"],
)
def test_any_change_is_found_with_its_line(ledger: Ledger, change):
    """A changed, cut, moved, reformatted or repeated line is named with file and line."""
    ledger.append(entry("one"), entry("two"), entry("three"))
    lines = ledger.path.read_bytes().splitlines()
    ledger.path.write_bytes(b"\n".join(change(lines)) + b"\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:\d+: "):
        Ledger(ledger.path).verify()


def test_removed_entries_are_noticed_by_who_has_read_them(ledger: Ledger):
    """A file cut at its end is a valid chain; a reader that saw more says so and writes nothing."""
    ledger.append(entry("one"))
    end = ledger.path.stat().st_size
    ledger.append(entry("two"))
    with ledger.path.open("r+b") as stream:
        stream.truncate(end)
    with pytest.raises(LedgerError, match="shorter"):
        ledger.append(entry("three"))
    assert ledger.path.stat().st_size == end


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_a_torn_last_line_is_moved_aside_and_said(ledger: Ledger, kept: int):
    """What a crash cut off is not read, is kept in a side file at the next append, and stands in the ledger."""
    ledger.append(entry("one"))
    whole = ledger.path.read_bytes()
    torn = entry("two").chained(2, ledger.head.hash).to_line()[:-1][:kept]
    ledger.path.write_bytes(whole + torn)
    again = Ledger(ledger.path)
    assert [item.reason for item in again.refresh()] == ["one"]
    assert again.head.torn_bytes == len(torn)
    again.append(entry("three"))
    one, repair, three = Ledger(ledger.path).refresh()
    assert (one.reason, repair.event, three.reason) == ("one", REPAIR_EVENT, "three")
    assert (ledger.path.parent / repair.details["file"]).read_bytes() == torn
    assert repair.details["bytes"] == len(torn)
    assert again.verify().torn_bytes == 0


def test_two_who_decide_on_the_same_head_cannot_both_write(ledger: Ledger):
    """With an expected head the second writer is refused, has caught up, and may decide again."""
    other = Ledger(ledger.path)
    head = ledger.head.hash
    ledger.append(entry("first"), expected_head=head)
    with pytest.raises(LedgerMovedError):
        other.append(entry("second"), expected_head=head)
    assert [item.reason for item in other.entries] == ["first"]
    other.append(entry("second"), expected_head=other.head.hash)
    assert len(ledger.refresh()) == 1


WRITER = """
import sys
from pathlib import Path
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.ledger_entry import LedgerEntry
ledger = Ledger(Path(sys.argv[1]), lock_timeout_s=60)
for number in range(25):
    ledger.append(LedgerEntry(number, sys.argv[2], "note", "p", reason=str(number)))
"""


def test_four_processes_write_one_chain(ledger: Ledger):
    """Four writers at once lose and repeat nothing, and the chain holds."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(ledger.path), f"w{i}"]) for i in range(4)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0, 0]
    assert ledger.verify().sequence == 100
    for writer in range(4):
        own = [int(item.reason) for item in ledger.refresh() or ledger.entries if item.actor == f"w{writer}"]
        assert own == list(range(25))


FULL_DISK = """
import resource, sys
from pathlib import Path
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.errors import LedgerError
ledger = Ledger(Path(sys.argv[1]))
ledger.append(LedgerEntry(1, "a", "note", "p"))
size, head = ledger.path.stat().st_size, ledger.head
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
try:
    ledger.append(LedgerEntry(2, "a", "note", "p"))
except LedgerError as error:
    print(error)
assert ledger.path.stat().st_size == size, "the file grew"
assert ledger.head == head, "memory changed"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.append(LedgerEntry(3, "a", "note", "p"))
assert [item.time_ns for item in Ledger(ledger.path).refresh()] == [1, 3]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the limit on file size is a POSIX one")
def test_a_full_disk_leaves_file_and_state_as_they_were(ledger: Ledger):
    """A write that stops half way raises, is taken back, and the next one succeeds when there is room."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(ledger.path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "nothing was changed" in done.stdout


def test_details_that_json_cannot_hold_are_refused(ledger: Ledger):
    """An entry that has no canonical form raises and writes nothing."""
    with pytest.raises(LedgerError):
        ledger.append(entry(details={"number": 2**60}))
    assert not ledger.path.exists()


def test_a_held_lock_is_reported(ledger: Ledger):
    """Waiting for another process ends with a message that says so."""
    impatient = Ledger(ledger.path, lock_timeout_s=0.05)
    with ledger._lock, pytest.raises(LedgerError, match="another process"):
        impatient.append(entry())


def test_lines_are_plain_json(ledger: Ledger):
    """Other programs can read the ledger line by line with any JSON reader."""
    ledger.append(entry("one", from_state="shadow", to_state="canary"))
    raw = json.loads(ledger.path.read_text())
    assert (raw["from"], raw["to"], raw["time_ns"]) == ("shadow", "canary", str(NOW_NS))
