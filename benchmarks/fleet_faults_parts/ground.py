"""The ground the faults are tried on: agents, controllers and what became of them; a folder in, facts out."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
_PID = re.compile(r"-(\d+)-\d+\.jsonl")


@dataclass(frozen=True)
class Run:
    """One run as its span tells it: its start on the harness's clock, and the arm and digest of each policy."""

    start_ns: int
    conversation: str
    arms: Mapping[str, str]


@dataclass
class Agent:
    """One agent process and the outcomes it has told."""

    number: int
    process: subprocess.Popen
    outcomes: list[dict] = field(default_factory=list)
    told_end: bool = False

    def follow(self) -> None:
        """Read outcomes until the process ends; runs on a thread of its own."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "conversation" in said:
                self.outcomes.append({**said, "at": time.time_ns()})
            else:
                self.told_end = True


class Ground:
    """One home folder with its agents and controllers. `skew_s` is what each agent's clock is wrong by now."""

    def __init__(self, folder: Path, backend: Mapping[str, str], agents: int, at_once: int) -> None:
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        (self.home / "policies").mkdir()
        self._folder = folder
        self._control = folder / "control.json"
        self._runs: list[Run] = []
        # The command's own span says all that is asked here, so nothing is waited for.
        self._tail = OtlpTail(self.home / "telemetry", grace_s=0.0)
        self.skew_s: dict[int, float] = {}
        self.mode = ""
        self._tell_agents()
        self.agents = [self._agent(number, backend, at_once) for number in range(agents)]
        self.controllers: list[subprocess.Popen] = []

    # --- switches ---

    def switch(self, mode: str = "", skew_s: Mapping[int, float] | None = None) -> None:
        """Switch an injected fault on, or everything off, and wait until every agent has seen it."""
        self.mode, self.skew_s = mode, dict(skew_s or {})
        self._tell_agents()
        time.sleep(0.3)

    def start_controller(self, skew_s: float = 0.0) -> subprocess.Popen:
        """Start a controller and wait until it takes turns, or has ended."""
        log = self._folder / f"controller-{len(self.controllers)}.log"
        command = [sys.executable, str(PARTS / "controller.py"), str(self.home)]
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*command, "--lease", str(LEASE_S), "--skew", str(skew_s)],
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

    def limit_files(self, limit: int) -> None:
        """Let no process of ours grow a file beyond `limit` bytes (−1: no limit), as on a full disk."""
        pids = [agent.process.pid for agent in self.agents]
        pids += [process.pid for process in self.controllers if process.poll() is None]
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    # --- policies ---

    def declare(self, name: str, text: str) -> None:
        """Write a policy, let it be seen, and approve its canary as a second person."""
        (self.home / "policies" / f"{name}.yaml").write_text(text)
        self._until(lambda: self.policies().status(name, time.time_ns()).pending_gate == "canary", 20, f"{name} waits")
        self.policies().approve(name, "second-person", "fault injection", time.time_ns(), "canary")

    def policies(self) -> PolicySet:
        """Return the policies as the ledger has them now."""
        return PolicySet.open(self.home, time.time_ns())

    def state(self, name: str) -> State:
        """Return where a policy stands, without changing anything."""
        policies = PolicySet(self.home)
        policies.journal.catch_up()
        return policies.journal.state(name).state

    def wait_for(self, name: str, states: set[State], limit_s: float) -> bool:
        """Wait until a policy is in one of the states; False when it did not come to that in time."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.check_agents()
            if self.state(name) in states:
                return True
            time.sleep(LOOK_S)
        return False

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
        """Return every run read so far, the latest ones included."""
        for batch in self._tail.read(time.time_ns()):
            for run in executions_of(batch):
                if run.finished:
                    arms = {policy: arm.arm for policy, arm in run.arms.items()}
                    start_ns = run.command.start_ns - self._skew_ns(run.location)
                    self._runs.append(Run(start_ns, run.conversation_id, arms))
        return self._runs

    def treated(self, name: str, since_ns: int = 0) -> list[Run]:
        """Return the runs that a policy treated."""
        return [run for run in self.runs() if run.arms.get(name) == "treatment" and run.start_ns >= since_ns]

    def outcomes(self, since_ns: int = 0, until_ns: int | None = None) -> list[dict]:
        """Return the commands that ended in a stretch of time, as the agents' users saw them."""
        until_ns = until_ns or time.time_ns()
        every = [one for agent in self.agents for one in list(agent.outcomes)]
        return [one for one in every if since_ns <= one["at"] <= until_ns]

    def wait_for_traffic(self, commands: int, limit_s: float) -> None:
        """Wait until so many commands more have ended."""
        before = len(self.outcomes())
        self._until(lambda: len(self.outcomes()) >= before + commands, limit_s, f"{commands} commands")

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
        return dropped_spans(self.home / "metrics")

    def stop(self) -> None:
        """Let the agents end what they are at, then end; kill what does not."""
        for agent in self.agents:
            assert agent.process.stdin is not None
            agent.process.stdin.close()
        deadline = time.monotonic() + 30
        while any(agent.process.poll() is None for agent in self.agents) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        for agent in self.agents:
            if agent.process.poll() is None:
                agent.process.kill()
                agent.process.wait()
        self.kill_controllers()

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
        threading.Thread(target=agent.follow, daemon=True).start()
        return agent

    def _tell_agents(self) -> None:
        said = {"mode": self.mode, "skew_s": {str(number): skew for number, skew in self.skew_s.items()}}
        new = self._control.with_suffix(".new")
        new.write_text(json.dumps(said))
        new.replace(self._control)

    def _skew_ns(self, location: str) -> int:
        found = _PID.search(location)
        by_pid = {agent.process.pid: self.skew_s.get(agent.number, 0.0) for agent in self.agents}
        return int(by_pid.get(int(found.group(1)), 0.0) * 1e9) if found else 0

    def _until(self, done: Callable[[], bool], limit_s: float, what: str) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            self.check_agents()
            if time.monotonic() > deadline:
                raise PerfoptError(f"not in {limit_s:g} s: {what}")
            time.sleep(LOOK_S)


def dropped_spans(folder: Path) -> int:
    """Return the sum of `perfopt.spans.dropped` over all metric files of a home folder."""
    total = 0
    for file in folder.glob("*.jsonl"):
        for line in file.read_text(errors="replace").splitlines():
            for point in re.finditer(r'"perfopt\.spans\.dropped".*?"as(?:Int|Double)":\s*"?([\d.]+)', line):
                total += int(float(point.group(1)))
    return total
