"""Starting and stopping: everything is up when it says so, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import catalogue, database
from support.launch import EXAMPLES, BackendError, running_backends


def children_of(process_id: int) -> list[int]:
    """Return the ids of a process's direct children, from /proc."""
    return [
        int(text) for path in Path(f"/proc/{process_id}/task").glob("*/children") for text in path.read_text().split()
    ]


def is_running(process_id: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def answers(url: str) -> bool:
    """Tell whether somebody accepts connections at a URL."""
    parts = urlsplit(url)
    with socket.socket() as connection:
        connection.settimeout(1.0)
        return connection.connect_ex((parts.hostname, parts.port)) == 0


def gone_within(process_ids: list[int], seconds: float) -> bool:
    """Wait until none of the processes runs any more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(map(is_running, process_ids)):
            return True
        time.sleep(0.02)
    return False


linux_only = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")


@linux_only
def test_back_ends_stop_with_the_block_even_when_it_fails(tmp_path):
    """After the block no process is left and the ports are free, also when the block raised."""
    before = set(children_of(os.getpid()))
    with suppress(KeyError), running_backends(tmp_path) as env:
        started = set(children_of(os.getpid())) - before
        up = answers(env["OPENAI_BASE_URL"]) and answers(env["SUPPORT_SHOP_URL"])
        raise KeyError("on purpose")
    assert up
    assert len(started) == 3
    assert not any(map(is_running, started))
    assert not answers(env["OPENAI_BASE_URL"])
    assert not answers(env["SUPPORT_SHOP_URL"])


@linux_only
@pytest.mark.parametrize("how", ["killed", "input closed"])
def test_back_ends_end_when_their_parent_does(tmp_path, how):
    """Killing the launcher outright, or closing its input, ends every process it had started."""
    launcher = subprocess.Popen(
        [sys.executable, "-m", "support.launch", "--folder", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
    )
    with launcher:
        env = json.loads(launcher.stdout.readline())
        started = children_of(launcher.pid)
        assert len(started) == 3
        assert answers(env["OPENAI_BASE_URL"])
        if how == "killed":
            launcher.send_signal(signal.SIGKILL)
    assert gone_within(started, 5.0)
    assert not answers(env["OPENAI_BASE_URL"])


def test_a_back_end_that_does_not_start_says_why(tmp_path):
    """What the server wrote before it ended is in the error, and the others are stopped."""
    with pytest.raises(BackendError, match="invalid float value"), running_backends(tmp_path, error_rate="often"):
        pass


def test_each_start_has_a_fresh_shop(tmp_path):
    """What an earlier run left in the folder is gone: the shop begins on its first day again."""

    def first_and_last():
        with closing(database.connect(database.create(tmp_path / "shop.sqlite"))) as connection:
            rows = connection.execute("SELECT id, address, version FROM customers ORDER BY id").fetchall()
            connection.execute("UPDATE customers SET address = 'gone', version = 2")
            return [tuple(row) for row in rows]

    assert first_and_last() == first_and_last() == [(c["id"], c["address"], 1) for c in catalogue.customers()]
