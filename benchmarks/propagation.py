"""How soon a running fleet follows: policies, kills and silence of a real controller in, seconds until every agent follows out.

python benchmarks/propagation.py                 # 8 agents, five rounds; about four minutes
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.decide.publish import SNAPSHOT_FILE
from otel_perfopt.loop.controller import LEASE_S

PARTS = Path(__file__).resolve().parent / "propagation_parts"
PERFOPT = Path(sys.executable).with_name("perfopt")
NAME = "quick-lookups"
CHANGE_S, KILL_S = 5.0, 2.0
PATIENCE_S = 120.0
POLICY = """apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: quick-lookups, author: ann}
spec:
  match: {command: [/answer], tool: [lookup]}
  optimize: {type: tool_cache, with: {ttl: TTL, scope: process}}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
    limits: {minUnits: 100000, maxUnits: 1000000, maxDuration: 1h}
  goal: {metric: latency}
"""


class Agent:
    """One agent process, and what each of its commands said."""

    def __init__(self, kind: str, home: Path, **variables: str) -> None:
        self.kind = kind
        (home / "telemetry").mkdir(parents=True, exist_ok=True)
        environment = run_environment(
            {**os.environ, **variables},
            home,
            tools=["orders:lookup"],
            commands=["orders:answer=/answer"],
            effects=["lookup=read"],
        )
        self.process = subprocess.Popen(
            [sys.executable, str(PARTS / "agent.py")],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.said: list[tuple[int, bool]] = []
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            one = json.loads(line)
            self.said.append((one["at"], one["treated"]))

    def on_after(self, moment_ns: int) -> float | None:
        """Return the seconds from a moment to the first treated command, None while there is none."""
        return next(((at - moment_ns) / 1e9 for at, treated in self.said if treated and at >= moment_ns), None)

    def off_after(self, moment_ns: int, quiet_ns: int) -> float | None:
        """Return the seconds from a moment to the last treated command, once it has been plain for a while."""
        last = max((at for at, treated in self.said if treated), default=moment_ns)
        newest = self.said[-1][0] if self.said else 0
        return max(0.0, (last - moment_ns) / 1e9) if newest - max(last, moment_ns) > quiet_ns else None

    def stop(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Fleet:
    """A home with a real `perfopt loop --serve`, and agents that follow it in three ways."""

    def __init__(self, folder: Path, agents: int) -> None:
        self.home = folder / "home"
        (self.home / "policies").mkdir(parents=True)
        self.mounted = folder / "mounted"
        self.mounted.mkdir()
        (folder / "token").write_text("a token that only these processes know\n")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._token = folder / "token"
        self._swaps = 0
        self._over = threading.Event()
        self.controller = self._start_controller()
        url = {
            "PERFOPT_SNAPSHOT_URL": f"http://127.0.0.1:{self._port}/v1/snapshot",
            "PERFOPT_SNAPSHOT_TOKEN_FILE": str(self._token),
        }
        http = agents // 2
        mounted = max(1, agents // 4)
        self.agents = [
            *(Agent("file", self.home) for _ in range(agents - http - mounted)),
            *(Agent("mounted", self.mounted) for _ in range(mounted)),
            *(Agent("http", folder / f"machine-{number}", **url) for number in range(http)),
        ]
        self.never = Agent("PERFOPT_KILL=1", self.home, PERFOPT_KILL="1")
        threading.Thread(target=self._mirror, daemon=True).start()

    def _start_controller(self) -> subprocess.Popen[bytes]:
        serve = ["--serve", f"127.0.0.1:{self._port}", "--token-file", str(self._token)]
        return subprocess.Popen([str(PERFOPT), "loop", "--home", str(self.home), *serve], stdout=subprocess.DEVNULL)

    def _mirror(self) -> None:
        """Do what a ConfigMap's mount does: a new folder beside the old, then one symbolic link swapped."""
        seen = b""
        while not self._over.wait(0.2):
            try:
                document = (self.home / SNAPSHOT_FILE).read_bytes()
            except OSError:
                continue
            if document == seen:
                continue
            seen = document
            self._swaps += 1
            data = self.mounted / f"..{self._swaps}"
            data.mkdir()
            (data / SNAPSHOT_FILE).write_bytes(document)
            link = self.mounted / "..data_new"
            link.symlink_to(data.name)
            link.replace(self.mounted / "..data")
            if not (self.mounted / SNAPSHOT_FILE).is_symlink():
                (self.mounted / SNAPSHOT_FILE).symlink_to(Path("..data") / SNAPSHOT_FILE)
            shutil.rmtree(self.mounted / f"..{self._swaps - 1}", ignore_errors=True)

    def write(self, ttl: str) -> int:
        """Write the policy as an editor does; returns when."""
        new = self.home / "policies" / "quick.yaml.new"
        new.write_text(POLICY.replace("TTL", ttl))
        new.replace(self.home / "policies" / "quick.yaml")
        return time.time_ns()

    def perfopt(self, *words: str) -> None:
        """Run a command of a second person, as often as the controller's turn needs to see the file."""
        command = [str(PERFOPT), *words, "--home", str(self.home), "--as", "bob", "--reason", "benchmark"]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
            time.sleep(0.5)

    def last_entry_ns(self, event: str) -> int:
        """Return when the ledger's newest entry of an event was made."""
        return max(entry.time_ns for entry in Ledger(self.home / LEDGER_FILE).refresh() if entry.event == event)

    def until(self, seconds: Callable[[Agent], float | None], kinds: tuple[str, ...]) -> dict[str, list[float]]:
        """Wait until every agent of those kinds has followed; returns their seconds by kind."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = [(agent.kind, seconds(agent)) for agent in self.agents if agent.kind in kinds]
            if all(value is not None for _, value in found):
                by_kind: dict[str, list[float]] = defaultdict(list)
                for kind, value in found:
                    by_kind[kind].append(value or 0.0)
                return by_kind
            if time.monotonic() > deadline:
                raise SystemExit(f"some agents did not follow: {found}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End everything."""
        self._over.set()
        for agent in (*self.agents, self.never):
            agent.stop()
        self.controller.kill()
        self.controller.wait()


Row = dict[str, list[float]]
EVERYWHERE = ("file", "mounted", "http")
QUIET_NS = 3_000_000_000


def measured(fleet: Fleet, rounds: int) -> dict[tuple[str, float], Row]:
    """Take every change in turn, `rounds` times; returns by change and its promise the seconds by kind of agent."""
    rows: dict[tuple[str, float], Row] = defaultdict(lambda: defaultdict(list))

    def note(what: str, promise_s: float, found: dict[str, list[float]]) -> None:
        for kind, seconds in found.items():
            rows[what, promise_s][kind].extend(seconds)

    def off(what: str, promise_s: float, moment_ns: int, kinds: tuple[str, ...] = EVERYWHERE) -> None:
        note(what, promise_s, fleet.until(lambda agent: agent.off_after(moment_ns, QUIET_NS), kinds))

    def on(what: str, moment_ns: int, kinds: tuple[str, ...] = EVERYWHERE) -> None:
        note(what, CHANGE_S, fleet.until(lambda agent: agent.on_after(moment_ns), kinds))

    fleet.write("1m")
    for number in range(rounds):
        fleet.perfopt("approve", NAME, "--gate", "canary")
        on("approved", fleet.last_entry_ns("approve"))
        moment = time.time_ns()
        (fleet.home / "policies" / "quick.yaml").write_text("spec: {")
        time.sleep(6)
        plain = fleet.until(lambda agent, since=moment: agent.on_after(since + 5 * 10**9), EVERYWHERE)
        assert plain, "a broken file must leave the last good snapshot in force"
        fleet.write(f"{number + 1}m")
        for what, words, back in (
            ("perfopt kill, one policy", ("kill", NAME), ("unkill", NAME)),
            ("perfopt kill", ("kill",), ("unkill",)),
        ):
            moment = time.time_ns()
            fleet.perfopt(*words)
            kill_file = fleet.home / ("kill" if len(words) == 1 else f"kill.d/{NAME}")
            moment = kill_file.stat().st_mtime_ns
            off(what, KILL_S, moment, ("file", "http"))
            moment = time.time_ns()
            fleet.perfopt(*back)
            on(f"perfopt un{what.removeprefix('perfopt ')}", time.time_ns())
        off("the policy's file edited", CHANGE_S, fleet.write(f"{number + 2}m"))
    fleet.perfopt("approve", NAME, "--gate", "canary")
    on("approved", fleet.last_entry_ns("approve"))
    fleet.controller.kill()
    off("controller killed", LEASE_S, time.time_ns())
    return rows


def main() -> int:
    """Print the table; 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perfopt-propagation-") as folder:
        fleet = Fleet(Path(folder), options.agents)
        try:
            rows = measured(fleet, options.rounds)
        finally:
            fleet.stop()
        treated, commands = sum(treated for _, treated in fleet.never.said), len(fleet.never.said)
        exposed = sum(treated for agent in fleet.agents for _, treated in agent.said)
    table = Table(title="Seconds until every agent follows", title_justify="left")
    for column in ("change", "agents by", "median", "longest", "promised", ""):
        table.add_column(column)
    kept = not treated
    for (what, promise_s), row in rows.items():
        for kind, seconds in row.items():
            held = max(seconds) <= promise_s
            kept = kept and held
            table.add_row(
                what,
                f"{kind} ({len(seconds)})",
                f"{median(seconds):.2f}",
                f"{max(seconds):.2f}",
                f"{promise_s:g}",
                "ok" if held else "NOT KEPT",
            )
    Console(width=120).print(table)
    print(f"{exposed} treated commands; with PERFOPT_KILL=1 {treated} of {commands}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end")
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
