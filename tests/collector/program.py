"""A program, its arguments and variables in, the running program on the loopback out; stopped, killed, started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLLECTOR = ROOT / "collector"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
LOOPBACK = "127.0.0.1"


def built_folder() -> Path:
    """Return where `collector/build` puts what it builds."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("PERFOPT_BIN") or cache / "otel-perfopt")


def program(name: str, how: str) -> str:
    """Return the path of a program, or skip the test; with PERFOPT_REQUIRE_COLLECTOR=1 its absence fails it."""
    found = shutil.which(name, path=str(built_folder())) or shutil.which(name)
    if found is not None:
        return found
    reason = f"no {name} here; {how}"
    if os.environ.get("PERFOPT_REQUIRE_COLLECTOR") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on; all are held until all are found, so none is given twice."""
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(count)]
        for holder in holders:
            holder.bind((LOOPBACK, 0))
        return [holder.getsockname()[1] for holder in holders]


def until(what: str, true: Callable[[], object], timeout_s: float = START_TIMEOUT_S, every_s: float = 0.1) -> object:
    """Wait until `true()` gives something, and return it; fails with what `what()` names when it takes too long."""
    end = time.monotonic() + timeout_s
    while True:
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not in {timeout_s:g} s: {what}")
        time.sleep(every_s)


def answers(url: str) -> bool:
    """Tell whether something answers there with success."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status < 300
    except (urllib.error.URLError, OSError):
        return False


class Program:
    """One process with a log of its own, ready when `ready_url` answers."""

    def __init__(
        self, arguments: Sequence[str], log: Path, ready_url: str, variables: Mapping[str, str] | None = None
    ) -> None:
        self.arguments = list(arguments)
        self.log = log
        self.ready_url = ready_url
        self.variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"), **self.variables}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=self.log.parent
            )
        until(f"{self.arguments[0]} is ready", self._is_ready)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, with SIGKILL as a machine that fails would."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not end by itself: {self.arguments[0]}\n{self.text()[-2000:]}") from None

    def text(self) -> str:
        """Return what it has written."""
        return self.log.read_text(errors="replace")

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"{self.arguments[0]} ended at once:\n{self.text()[-3000:]}")
        return answers(self.ready_url)


@contextlib.contextmanager
def running(running_program: Program) -> Iterator[Program]:
    """Run it for a while."""
    try:
        running_program.start()
        yield running_program
    finally:
        running_program.stop()
