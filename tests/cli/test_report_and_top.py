"""`perfopt report`, `perfopt top` and `perfopt status --watch`, run as a person would."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from otel_perfopt import conventions as c

POLICY = """apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  goal: {metric: latency}
"""


def command(*arguments):
    return [sys.executable, "-m", "otel_perfopt.cli.main", *map(str, arguments)]


def perfopt(*arguments, cwd, status=0, **environment):
    """Run the real command in a process of its own and return what it printed."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**os.environ, "COLUMNS": "140", "LINES": "40", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def home(tmp_path):
    """Return a folder in which an agent has just answered twice, and a policy waits."""
    folder = tmp_path / ".perfopt"
    (folder / "telemetry").mkdir(parents=True)
    (folder / "policies").mkdir()
    (folder / "policies" / "parallel.yaml").write_text(POLICY)
    now = time.time_ns()
    spans = [
        {
            "traceId": f"{number + 1:032x}",
            "spanId": f"{number + 1:016x}",
            "name": "/task",
            "startTimeUnixNano": str(now - 2 * 10**9),
            "endTimeUnixNano": str(now - 10**9),
            "attributes": [
                {"key": c.STEP_KIND, "value": {"stringValue": "command"}},
                {"key": c.COMMAND_NAME, "value": {"stringValue": "/task"}},
            ],
        }
        for number in range(2)
    ]
    line = {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}
    (folder / "telemetry" / "agent.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path


def test_the_report_has_both_halves(home):
    """Without arguments the home's telemetry and policies become one page; what it says where is told."""
    perfopt("check", cwd=home)
    perfopt("status", cwd=home)
    told = perfopt("report", cwd=home)
    assert "written: report.html" in told
    page = (home / "report.html").read_text()
    assert "Policies and verdicts" in page
    assert "Overview" in page


def test_the_report_can_be_piped_titled_and_quiet(home):
    """`--out -` prints the page and nothing else; the title is the caller's."""
    page = perfopt("report", "--out", "-", "--title", "A <week>", "--quiet", cwd=home)
    assert page.startswith("<!doctype html>")
    assert "A &lt;week&gt;" in page


def test_the_report_of_a_store_is_that_of_its_files(home):
    """A report on a store is written from what was imported into it."""
    pytest.importorskip("chdb")
    shared = ("--workers", "1", "--interval", "5")
    told = perfopt(
        "report", "--store", "store", home / ".perfopt" / "telemetry", *shared, "--out", "store.html", cwd=home
    )
    assert "written: store.html" in told
    assert ">/task<" in (home / "store.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (("report", "nothing-there"), "nothing-there", 1),
        (("report", "--home", "nowhere"), "perfopt run", 1),
        (("report", "--sample", "5"), "--store", 2),
        (("top", "--home", "nowhere"), "perfopt run", 1),
        (("status", "--looks", "2"), "--watch", 2),
    ],
)
def test_misuse_is_one_clear_line(home, arguments, said, status):
    """What is missing is named, without a traceback."""
    told = perfopt(*arguments, cwd=home, status=status)
    assert said in told
    assert "Traceback" not in told


def test_top_counts_what_just_ended(home):
    """One look without a terminal prints the rows and ends."""
    told = perfopt("top", "--looks", "1", cwd=home)
    row = next(line for line in told.splitlines() if line.startswith("/task"))
    assert "990 ms" in row  # a second, within the sketch's 1 %
    assert "0 runs in flight" in told


def test_watching_without_a_terminal_prints_each_look(home):
    """Piped, the status is printed again and again, each with its time, and no screen is switched."""
    told = perfopt("status", "--watch", "--looks", "2", cwd=home)
    assert told.count("perfopt status") == 2
    assert "\x1b" not in told


@pytest.mark.parametrize("arguments", [("status", "--watch"), ("top", "--every", "0.2")])
def test_ctrl_c_ends_it_cleanly_and_leaves_the_last_view(home, arguments):
    """In a terminal it has a screen of its own; Ctrl-C gives the terminal back, status 0, no traceback."""
    mine, theirs = pty.openpty()
    running = subprocess.Popen(
        command(*arguments),
        cwd=home,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
        start_new_session=True,
        # Whoever runs the tests in the background may have had the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call, no lock
    )
    os.close(theirs)
    shown = _until(mine, b"perfopt ")
    time.sleep(0.5)
    os.killpg(running.pid, signal.SIGINT)
    shown += _until(mine, None)
    assert running.wait(20) == 0
    os.close(mine)
    assert b"\x1b[?1049h" in shown
    assert b"\x1b[?1049l" in shown
    assert b"Traceback" not in shown
    assert b"perfopt" in shown.rpartition(b"\x1b[?1049l")[2]


def _until(terminal, wanted):
    """Read a terminal until it showed what is wanted, or was closed."""
    shown, patience = b"", time.monotonic() + 30
    while time.monotonic() < patience:
        ready, _, _ = select.select([terminal], [], [], 0.2)
        if not ready:
            continue
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            return shown
        if not piece:
            return shown
        shown += piece
        if wanted is not None and wanted in shown:
            return shown
    return shown
