"""The ground the faults are tried on: agents, controllers and what became of them; a folder in, facts out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from machine import Disk, Lag

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.policy_set import LEDGER_FILE, PolicySet
from otel_perfopt.decide.state import State
from otel_perfopt.demo.fleet import COMMANDS, EFFECTS, TOOLS
from otel_perfopt.errors import PerfoptError
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.signal.read.otlp_tail import OtlpTail

PARTS = Path(__file__).resolve().parent
LEASE_S = 6.0
LOOK_S = 0.1
# For whatever is waited for; a machine that needs longer shows nothing.
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Run:
    """One command as its user saw it: its start, its conversation, and the policies that treated it."""

    start_ns: int
    conversation: str
    treated_by: tuple[str, ...]


@dataclass
class Agent:
    """One agent process and the outcomes it has told."""

    number: int
    process: subprocess.Popen
    outcomes: list[dict] = field(default_factory=list)
    reader: threading.Thread | None = None

    def follow(self) -> None:
        """Read outcomes until the process ends; runs on a thread of its own."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if "conversation" in said:
                    self.outcomes.append({**said, "at": time.time_ns()})


class Ground:
    """One home folder with its agents and controllers."""

    def __init__(
        self, folder: Path, backend: Mapping[str, str], agents: int, at_once: int, *, own_disk: bool = False
    ) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.disk = Disk(self.home, mount=own_disk)
        (self.home / "policies").mkdir()
        self.lag = Lag()
        self._folder = folder
        self._control = folder / "control.json"
        self._tell_agents("", {})
        self.agents = [self._agent(number, backend, at_once) for number in range(agents)]
        self.controllers: list[subprocess.Popen] = []

    # --- switches ---

    def switch(self, mode: str = "", skew_s: Mapping[int, float] | None = None) -> None:
        """Switch an injected fault on, or everything off, and wait until every agent has seen it."""
        self._tell_agents(mode, skew_s or {})
        time.sleep(0.3 + self.lag.worst_s)

    def start_controller(self, skew_s: float = 0.0) -> subprocess.Popen:
        """Start a controller and wait until it takes turns, or has ended."""
        number = len(self.controllers)
        command = [sys.executable, str(PARTS / "controller.py"), str(self.home), "--lease", str(LEASE_S)]
        with (self._folder / f"controller-{number}.log").open("wb") as stderr:
            process = subprocess.Popen(
                [*command, "--skew", str(skew_s), "--units", str(self._units_file(number))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self.controllers.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    def controller_log(self, process: subprocess.Popen) -> str:
        """Return what a controller complained of."""
        return (self._folder / f"controller-{self.controllers.index(process)}.log").read_text(errors="replace")

    def compared(self, name: str) -> int | None:
        """Return how many units the newest controller compares, None until it has read all there was."""
        try:
            said = json.loads(self._units_file(len(self.controllers) - 1).read_text())
        except (OSError, ValueError):
            return None
        return None if said["behind"] else said["units"].get(name)

    def kill_controllers(self) -> int:
        """Kill every controller with SIGKILL and return when."""
        for process in self.controllers:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        return time.time_ns()

    # --- policies ---

    def declare(self, name: str, text: str) -> None:
        """Write a policy, let it be seen, and approve its canary as a second person."""
        (self.home / "policies" / f"{name}.yaml").write_text(text)
        self.until(lambda: self.policies().status(name, time.time_ns()).pending_gate == "canary", f"{name} waits")
        self.policies().approve(name, "second-person", "fault injection", time.time_ns(), "canary")

    def policies(self) -> PolicySet:
        """Return the policies as the ledger has them now."""
        return PolicySet.open(self.home, time.time_ns())

    def state(self, name: str) -> State:
        """Return where a policy stands, without changing anything."""
        policies = PolicySet(self.home)
        policies.journal.catch_up()
        return policies.journal.state(name).state

    def end(self, name: str) -> None:
        """Take a policy out of the way, whatever became of it."""
        (self.home / "policies" / f"{name}.yaml").unlink(missing_ok=True)
        try:
            self.policies().retire(name, "second-person", "the scenario is over", time.time_ns())
        except PerfoptError:
            return

    def moment(self, name: str, to_state: State) -> int | None:
        """Return when the ledger says that a policy first came to a state."""
        entries = Ledger(self.home / LEDGER_FILE).refresh()
        return next((e.time_ns for e in entries if e.policy == name and e.to_state == str(to_state)), None)

    # --- what happened ---

    def runs(self) -> list[Run]:
        """Return every command that has ended."""
        every = [one for agent in self.agents for one in list(agent.outcomes)]
        return [Run(int(one["started"] * 1e9), one["conversation"], tuple(one["treated_by"])) for one in every]

    def treated(self, name: str, since_ns: int = 0) -> list[Run]:
        """Return the commands that a policy treated."""
        return [run for run in self.runs() if name in run.treated_by and run.start_ns >= since_ns]

    def told(self) -> set[str]:
        """Return the conversations that telemetry knows of."""
        tail, found = OtlpTail(self.home / "telemetry", grace_s=0.0), set[str]()
        for batch in tail.read(time.time_ns()):
            found.update(run.conversation_id for run in executions_of(batch) if run.finished)
        return found

    def outcomes(self, since_ns: int = 0, until_ns: int | None = None) -> list[dict]:
        """Return the commands that ended in a stretch of time, as the agents' users saw them."""
        until_ns = until_ns or time.time_ns()
        every = [one for agent in self.agents for one in list(agent.outcomes)]
        return [one for one in every if since_ns <= one["at"] <= until_ns]

    def wait_for_traffic(self, commands: int) -> None:
        """Wait until so many commands more have ended."""
        before = len(self.outcomes())
        self.until(lambda: len(self.outcomes()) >= before + commands, f"{commands} commands")

    def until(self, done: Callable[[], object], what: str, limit_s: float = PATIENCE_S) -> None:
        """Wait for a condition; says what did not come about."""
        deadline = time.monotonic() + limit_s
        while not done():
            self.check_agents()
            if time.monotonic() > deadline:
                raise PerfoptError(f"not in {limit_s:g} s: {what}")
            time.sleep(LOOK_S)

    def check_agents(self) -> None:
        """Raise when an agent process has ended: that is the harm there must never be."""
        for agent in self.agents:
            if agent.process.poll() is not None:
                raise PerfoptError(f"agent {agent.number} ended with {agent.process.returncode}; see its log")

    def ledger_intact(self) -> bool:
        """Tell whether the ledger verifies from its first line."""
        try:
            return Ledger(self.home / LEDGER_FILE).verify().sequence > 0
        except PerfoptError:
            return False

    def dropped(self) -> int:
        """Return how many spans agents say they could not keep, by their own metrics."""
        return sum(last_dropped(file) for file in (self.home / "metrics").glob("*.jsonl"))

    def stop(self) -> None:
        """Let the agents end what they are at, then end; kill what does not."""
        for agent in self.agents:
            assert agent.process.stdin is not None
            agent.process.stdin.close()
        deadline = time.monotonic() + 60
        while any(agent.process.poll() is None for agent in self.agents) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.process.kill()
                agent.process.wait()
            if agent.reader is not None:
                agent.reader.join(10)
            if agent.process.stdout is not None:
                agent.process.stdout.close()
        self.kill_controllers()
        self.lag.stop()

    # --- how ---

    def _agent(self, number: int, backend: Mapping[str, str], at_once: int) -> Agent:
        environment = run_environment(
            {**os.environ, **backend, "OTEL_BSP_SCHEDULE_DELAY": "300"},
            self.home,
            tools=TOOLS,
            commands=COMMANDS,
            effects=tuple(f"{tool}={effect}" for tool, effect in EFFECTS.items()),
        )
        # Before the bootstrap's own: the clock must be ours before anything has read it.
        environment["PYTHONPATH"] = os.pathsep.join((str(PARTS), environment["PYTHONPATH"]))
        environment |= {"FAULTS_CONTROL": str(self._control), "FAULTS_AGENT": str(number)}
        arguments = f"--until-input-ends --conversations 1000000 --first {number * 1_000_000} --pause 0"
        more = f"--concurrency {at_once} --commands task --out /dev/stdout"
        with (self._folder / f"agent-{number}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(PARTS / "agent.py"), *arguments.split(), *more.split()],
                env=environment,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        agent = Agent(number, process)
        agent.reader = threading.Thread(target=agent.follow, daemon=True)
        agent.reader.start()
        return agent

    def _units_file(self, number: int) -> Path:
        return self._folder / f"controller-{number}.json"

    def _tell_agents(self, mode: str, skew_s: Mapping[int, float]) -> None:
        said = {"mode": mode, "skew_s": {str(number): skew for number, skew in skew_s.items()}}
        new = self._control.with_suffix(".new")
        new.write_text(json.dumps(said))
        new.replace(self._control)


def last_dropped(file: Path) -> int:
    """Return the last count of `perfopt.spans.dropped` in a file of cumulative metrics."""
    for line in reversed(file.read_text(errors="replace").splitlines()):
        points = re.findall(r'"perfopt\.spans\.dropped".*?"as(?:Int|Double)":\s*"?([\d.]+)', line)
        if points:
            return sum(int(float(point)) for point in points)
    return 0
