"""What `perfopt loop` and `perfopt status` say of themselves: what is watched, how it stands, what is wrong around them."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from rich.console import Console

from otel_perfopt.cli.heartbeat import Heartbeat
from otel_perfopt.loop.controller import Turn
from otel_perfopt.loop.queue import QueueItem
from otel_perfopt.report.clock_ahead import clocks_ahead
from otel_perfopt.report.home_view import HomeWatch
from otel_perfopt.report.queue import QueueView

SECOND = 10**9
NOW = 1_795_000_000 * SECOND
LINE = '{"resourceSpans":[{"scopeSpans":[{"spans":[{"endTimeUnixNano":"%d"}]}]}]}\n'


def written(home, end_ns, written_ns):
    folder = home / "telemetry"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "agent-1.jsonl"
    file.write_text(LINE % end_ns)
    os.utime(file, ns=(written_ns, written_ns))


def test_a_clock_that_is_ahead_is_told(tmp_path):
    """Spans that end after they were written down were timed by a clock that is ahead; the status names the file."""
    written(tmp_path, NOW + 90 * SECOND, NOW)
    told = list(clocks_ahead(tmp_path, NOW + 300 * SECOND))
    assert len(told) == 1
    assert "agent-1.jsonl" in told[0]
    assert "90 s" in told[0]
    assert told[0] in HomeWatch(tmp_path).look(NOW + 300 * SECOND).problems


def test_a_clock_that_agrees_is_not_told(tmp_path):
    """Neither spans of a moment ago nor a folder without telemetry are anything to speak of."""
    assert list(clocks_ahead(tmp_path, NOW)) == []
    for end_ns in (NOW - 3600 * SECOND, NOW, NOW + 4 * SECOND):
        written(tmp_path, end_ns, NOW)
        assert list(clocks_ahead(tmp_path, NOW + SECOND)) == []


def test_prices_that_cannot_be_read_are_told(tmp_path):
    """The status says which file, and that nothing has a cost until then."""
    (tmp_path / "prices.json").write_text('{"models": 3}')
    problems = HomeWatch(tmp_path).look(NOW).problems
    assert any("prices.json" in problem and "nothing has a cost" in problem for problem in problems)
    (tmp_path / "prices.json").unlink()
    assert HomeWatch(tmp_path).look(NOW).problems == ()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_queue_cuts_no_name(width):
    """However narrow the terminal is, the name that the next command is given stands there whole."""
    name = "a-command-with-a-long-name-some-tool-tool-cache"
    item = QueueItem(
        name, "tool_cache", "awaiting approval", "latency", 0.1, None, 0.5, "low", 268, 2.0, "approval (canary)", ()
    )
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(QueueView([item]))
    told = console.export_text()
    assert name in told
    assert "…" not in told
    assert "268" in told
    assert all(len(line) <= width for line in told.splitlines())


def test_a_screen_that_is_short_says_what_is_left_out():
    """As many as fit, and how many more there are."""
    items = [
        QueueItem(f"policy-{number}", "tool_cache", "shadow", "tokens", 0.1, None, 0.5, "low", None, None, "", ())
        for number in range(9)
    ]
    console = Console(width=60, file=io.StringIO(), record=True)
    console.print(QueueView(items, lines=8))
    told = console.export_text()
    assert "policy-2" in told
    assert "policy-3" not in told
    assert "and 6 more" in told


def test_the_heartbeat_is_one_line_that_is_written_over(tmp_path, capsys):
    """On a terminal each turn replaces the line of the last; elsewhere nothing is written."""
    quiet = Heartbeat(tmp_path, 2.0, shown=False)
    assert quiet.begin(("one",)) == f"watching {tmp_path}: its telemetry and 1 policy, every 2 s; Ctrl-C ends it"
    quiet.beat(Turn(NOW, runs=3))
    quiet.clear()
    assert capsys.readouterr().err == ""
    loud = Heartbeat(tmp_path, 2.0, shown=True)
    loud.beat(Turn(NOW, runs=3))
    loud.beat(Turn(NOW + 2 * SECOND, runs=4, behind=True))
    loud.clear()
    first, second, cleared, rest = capsys.readouterr().err.split("\r")[1:]
    assert "turn 1: 3 runs followed" in first
    assert "turn 2: reading what it missed; 7 runs followed" in second
    assert (cleared.strip(), rest) == ("", "")


def test_a_loop_says_what_it_watches(tmp_path):
    """In a terminal, before anything changes: the folder, and a line that lives."""
    (tmp_path / "telemetry").mkdir()
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "otel_perfopt.cli.main", "loop", "--home", str(tmp_path), "--every", "0.2"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        # Whoever runs the tests in the background may have had the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no lock
    )
    os.close(slave)
    try:
        told, ends = b"", time.monotonic() + 60
        while b"turn 2:" not in told and time.monotonic() < ends:
            told += os.read(master, 4096)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        os.close(master)
    assert b"watching" in told
    assert b"0 policies, every 0.2 s" in told
    assert b"turn 2: 0 runs followed, 0 compared" in told
