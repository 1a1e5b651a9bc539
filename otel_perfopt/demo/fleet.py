"""The example agents under instrumentation: a home folder and the back ends' environment in, traffic out."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import otel_perfopt
from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.errors import PerfoptError

PROCESSES = 2
CONVERSATIONS_AT_ONCE = 16
# What an operator says of an agent whose code says nothing: its tools, and which of them only read.
TOOLS = ("support.tools:*",)
COMMANDS = ("support.agent:SupportAgent.ask",)
EFFECTS = {
    "get_*": "read",
    "list_*": "read",
    "search_*": "read",
    "shipping_status": "read",
    "inventory": "read",
    "refund_order": "write",
    "update_address": "write",
    "add_note": "write",
}
# Spans are written twice a second, so that a tour of two minutes need not wait for them.
_QUICK_EXPORT = {"OTEL_BSP_SCHEDULE_DELAY": "500"}
_ENDLESS = 1_000_000
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """One command as the workload saw it, from outside: how long it took and whether the answer was right."""

    command: str
    seconds: float
    ok: bool


def examples_folder() -> Path:
    """Return where the example agent is: in an installed package, or beside it in a checkout."""
    package = Path(otel_perfopt.__file__).resolve().parent
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / "support" / "agent.py").is_file():
            return folder
    raise PerfoptError(f"the example agent is neither in {package} nor beside it; install otel-perfopt again")


def backends(folder: Path) -> AbstractContextManager[Mapping[str, str]]:
    """Run the model server, the shop service and the back office; gives the agents' environment."""
    sys.path.insert(0, str(examples_folder()))
    launch = importlib.import_module("support.launch")
    running: AbstractContextManager[Mapping[str, str]] = launch.running_backends(folder)
    return running


class Fleet:
    """Agent processes on the example workload, all with the same instrumentation and home folder."""

    def __init__(self, home: Path, backend: Mapping[str, str], folder: Path) -> None:
        self._home = home
        self._backend = backend
        self._folder = folder
        self._phase = 0

    @contextmanager
    def traffic(self, conversations: int | None = None) -> Iterator[Traffic]:
        """Run conversations until so many are done in all, or until the block ends."""
        self._phase += 1
        environment = run_environment(
            {**os.environ, **self._backend, **_QUICK_EXPORT},
            self._home,
            tools=TOOLS,
            commands=COMMANDS,
            effects=tuple(f"{tool}={effect}" for tool, effect in EFFECTS.items()),
        )
        share = _ENDLESS if conversations is None else conversations // PROCESSES
        running = [self._start(number, share, environment) for number in range(PROCESSES)]
        traffic = Traffic(running, [self._outcomes(number) for number in range(PROCESSES)])
        try:
            yield traffic
        finally:
            traffic.stop()

    def _outcomes(self, number: int) -> Path:
        return self._folder / f"outcomes-{self._phase}-{number}.jsonl"

    def _start(self, number: int, share: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        # Every process and phase talks to other customers' conversations.
        first = (self._phase * PROCESSES + number) * _ENDLESS
        arguments = {
            "--conversations": share,
            "--first": first,
            "--concurrency": CONVERSATIONS_AT_ONCE,
            "--out": self._outcomes(number),
        }
        flat = [str(item) for pair in arguments.items() for item in pair]
        log = (self._folder / f"agent-{self._phase}-{number}.log").open("wb")
        with log:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and example
                # They end when our end of their standard input is closed, however we end.
                [sys.executable, "-m", "support.workload", "--until-input-ends", *flat],
                env=dict(environment),
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


class Traffic:
    """Running agent processes and what they have done so far."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], outcome_files: list[Path]) -> None:
        self._processes = processes
        self._files = outcome_files

    @property
    def running(self) -> bool:
        """Whether any process still works."""
        return any(process.poll() is None for process in self._processes)

    def check(self) -> None:
        """Raise PerfoptError when an agent process ended with an error."""
        for process in self._processes:
            if process.poll() not in {None, 0}:
                raise PerfoptError(f"an example agent ended with status {process.returncode}; see its log")

    def outcomes(self) -> list[Outcome]:
        """Return every command done so far."""
        lines = (line for file in self._files if file.exists() for line in file.read_text().splitlines())
        return [_outcome(line) for line in lines if line.endswith("}")]

    def stop(self) -> None:
        """Let every conversation under way end, then every process; kill what does not."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:  # noqa: PERF203 - each process has its own patience
                process.kill()
                process.wait()


def _outcome(line: str) -> Outcome:
    raw = json.loads(line)
    return Outcome(raw["command"], raw["seconds"], raw["ok"])
