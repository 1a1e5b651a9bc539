"""The faults, one function each: the ground in, a row with what was seen out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources

from ground import LEASE_S, Ground

from otel_perfopt.decide.ledger import REPAIR_EVENT, Ledger
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.decide.publish import SNAPSHOT_FILE
from otel_perfopt.decide.state import State
from otel_perfopt.errors import PerfoptError

HARM_LIMIT_S = 75.0
SKEW_S = 90.0
PATIENCE_S = 180.0  # for a controller on a busy machine, never for an agent
# Agents look every quarter of a second; the rest is a machine that may be busy.
SOON_S = 2.0
SAFE = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: NAME, author: fault-injection}
spec:
  match: {command: [/task], tool: [search_docs]}
  optimize:
    type: tool_cache
    with: {ttl: 5m, scope: process}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
    limits: {minUnits: 2000, maxUnits: 100000, maxDuration: 1h}
  goal: {metric: latency}
  guardrails:
    - {metric: task_failure, maxIncrease: 10pp}
"""


@dataclass
class Row:
    """What became of one fault."""

    fault: str
    detected: str
    exposed: int
    baseline_s: float | None
    nothing_lost: str
    agents: str
    ok: bool


def stale(name: str) -> str:
    """Return the demo's harmful policy under another name."""
    text = resources.files("otel_perfopt.demo").joinpath("harmful.yaml").read_text(encoding="utf-8")
    return text.replace("generous-cache", name)


def safe(name: str) -> str:
    """Return a policy that harms nobody: the documentation does not change."""
    return SAFE.replace("NAME", name)


# --- harm that treatment does -------------------------------------------------------------------


def stale_cache(ground: Ground) -> Row:
    """Customers and orders are kept while other people change them."""
    return _harm(ground, "stale cache", stale("stale-cache"))


def wrong_compression(ground: Ground) -> Row:
    """Half of every tool result is gone before the model sees it."""
    return _harm(ground, "wrong compression", safe("wrong-compression"), mode="wrong")


def slow_tool(ground: Ground) -> Row:
    """Every read takes 0.6 s longer in treatment."""
    return _harm(ground, "slow tool", safe("slow-tool"), mode="slow")


def error_burst(ground: Ground) -> Row:
    """The optimization raises on every call."""
    return _harm(ground, "error burst", safe("error-burst"), mode="errors")


def two_controllers(ground: Ground) -> Row:
    """A second controller works on the same home; the same harm as above is taken back once."""
    ground.start_controller()
    row = _harm(ground, "two controllers", stale("two-controllers"))
    ground.kill_controllers()
    ground.start_controller()
    entries = [e for e in Ledger(ground.home / LEDGER_FILE).refresh() if e.policy == "two-controllers"]
    counts = [sum(e.event == event for e in entries) for event in ("expose", "rollback")]
    row.nothing_lost += f", {counts[0]} exposure and {counts[1]} roll-back written"
    row.ok = row.ok and counts == [1, 1]
    return row


def agent_clocks(ground: Ground) -> Row:
    """Three quarters of the agents are 90 s behind the controller and the others 90 s ahead, under a stale cache."""
    count = len(ground.agents)
    skew = dict.fromkeys(range(count), -SKEW_S) | dict.fromkeys(range(count * 3 // 4, count), SKEW_S)
    return _harm(ground, "agents' clocks ±90 s", stale("skewed-agents"), skew_s=skew)


def _harm(ground: Ground, fault: str, text: str, mode: str = "", skew_s: Mapping[int, float] | None = None) -> Row:
    name = _name(text)
    since_ns = time.time_ns()
    ground.switch(mode, skew_s)
    ground.declare(name, text)
    found = ground.wait_for(name, {State.ROLLED_BACK}, HARM_LIMIT_S)
    exposed_ns, taken_back_ns = ground.moment(name, State.CANARY), ground.moment(name, State.ROLLED_BACK)
    time.sleep(SOON_S)
    ground.runs()
    ended_ns = time.time_ns()
    treated = ground.treated(name)
    ground.switch()
    detected = "no"
    baseline_s = None
    if found and exposed_ns and taken_back_ns:
        detected = f"{(taken_back_ns - exposed_ns) / 1e9:.1f} s: {_reason(ground, name)}"
        baseline_s = max(0.0, (max(run.start_ns for run in treated) - taken_back_ns) / 1e9) if treated else 0.0
    ground.end(name)
    agents, unharmed = _agents(ground, since_ns, ended_ns)
    ok = found and unharmed and baseline_s is not None and baseline_s <= SOON_S and ground.ledger_intact()
    units = len({run.conversation for run in treated})
    return Row(fault, detected, units, baseline_s, _ledger(ground), agents, ok)


def _name(text: str) -> str:
    return text.split("metadata: {name: ", 1)[1].split(",", 1)[0]


def _reason(ground: Ground, name: str) -> str:
    entries = Ledger(ground.home / LEDGER_FILE).refresh()
    said = next(e.reason for e in entries if e.policy == name and e.to_state == str(State.ROLLED_BACK))
    return said.split(":")[0].split(" (")[0]


# --- faults of the machinery --------------------------------------------------------------------


def dead_controller(ground: Ground) -> Row:
    """The controller is killed with SIGKILL; a new one goes on where it was."""
    name = "dead-controller"
    since_ns = _begin(ground, name)
    killed_ns = ground.kill_controllers()
    time.sleep(LEASE_S + SOON_S + 1)
    row = _row(
        ground,
        "dead controller",
        "lease ran out",
        name,
        since_ns=since_ns,
        fault_ns=killed_ns,
        limit_s=LEASE_S + SOON_S,
    )
    ground.start_controller()
    return _resumed(ground, name, row)


def controller_clock(ground: Ground) -> Row:
    """A controller whose clock is 90 s ahead is killed: agents must not wait for 90 s more."""
    name = "controller-ahead"
    ground.kill_controllers()
    ground.start_controller(skew_s=SKEW_S)
    since_ns = _begin(ground, name)
    killed_ns = ground.kill_controllers()
    time.sleep(LEASE_S + SOON_S + 1)
    fault = "controller's clock +90 s, dead"
    row = _row(ground, fault, "lease ran out", name, since_ns=since_ns, fault_ns=killed_ns, limit_s=LEASE_S + SOON_S)
    ground.start_controller()
    return _resumed(ground, name, row)


def corrupt_files(ground: Ground) -> Row:
    """The snapshot is overwritten with rubbish, then a byte in the ledger is changed and the controller killed."""
    name = "corrupt-files"
    since_ns = _begin(ground, name)
    ledger = ground.home / LEDGER_FILE
    (ground.home / SNAPSHOT_FILE).write_bytes(b'{"version": 1, "decisions": [\xff')
    time.sleep(1.0)
    whole = ledger.read_bytes()
    broken_ns = ground.kill_controllers()
    middle = len(whole) // 2
    ledger.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    refused = ground.start_controller()
    time.sleep(LEASE_S + SOON_S + 1)
    said = ground.controller_log(refused)
    detected = "refused: file and line" if "ledger.jsonl:" in said else "no"
    ledger.write_bytes(whole)
    row = _row(
        ground,
        "corrupt snapshot, ledger",
        detected,
        name,
        since_ns=since_ns,
        fault_ns=broken_ns,
        limit_s=LEASE_S + SOON_S,
    )
    row.ok = row.ok and detected != "no"
    ground.kill_controllers()
    ground.start_controller()
    return _resumed(ground, name, row)


def full_disk(ground: Ground) -> Row:
    """No file can grow any more: not the agents' telemetry, not the ledger, not the snapshot."""
    name = "full-disk"
    since_ns = _begin(ground, name)
    ground.limit_files(0)
    full_ns = time.time_ns()
    time.sleep(LEASE_S + SOON_S + 1)
    ground.limit_files(-1)
    said = ground.controller_log(ground.controllers[-1])
    detected = "cannot write, said" if "cannot" in said else "no"
    row = _row(ground, "full disk", detected, name, since_ns=since_ns, fault_ns=full_ns, limit_s=LEASE_S + SOON_S)
    row.ok = row.ok and detected != "no"
    return _resumed(ground, name, row)


def torn_ledger(ground: Ground) -> Row:
    """Half a line at the ledger's end, as a crash in the middle of a write leaves it."""
    name = "torn-ledger"
    ledger = ground.home / LEDGER_FILE
    last = ledger.read_bytes().splitlines()[-1]
    with ledger.open("ab") as file:
        file.write(last[: len(last) // 2])
        os.fsync(file.fileno())
    since_ns = _begin(ground, name)
    repairs = [e for e in Ledger(ledger).refresh() if e.event == REPAIR_EVENT]
    kept = list(ground.home.glob(f"{LEDGER_FILE}.torn-*"))
    back_ns = time.time_ns()
    ground.policies().rollback(name, "second-person", "the scenario is over", back_ns)
    time.sleep(SOON_S + 1)
    detected = f"{len(repairs)} repair on the ledger, {len(kept)} side file" if repairs else "no"
    row = _row(ground, "torn ledger line", detected, name, since_ns=since_ns, fault_ns=back_ns, limit_s=SOON_S)
    row.ok = row.ok and bool(repairs) and bool(kept)
    ground.end(name)
    return row


def _begin(ground: Ground, name: str) -> int:
    """Bring a safe policy into force and wait until it treats somebody; returns when that began."""
    since_ns = time.time_ns()
    ground.declare(name, safe(name))
    if not ground.wait_for(name, {State.CANARY}, PATIENCE_S):
        raise PerfoptError(f"{name} did not come into force: {ground.state(name)}")
    deadline = time.monotonic() + PATIENCE_S
    while len(ground.treated(name)) < 3:
        if time.monotonic() > deadline:
            raise PerfoptError(f"{name} treated nobody in {PATIENCE_S:g} s")
        time.sleep(0.2)
    return since_ns


def _row(ground: Ground, fault: str, detected: str, name: str, *, since_ns: int, fault_ns: int, limit_s: float) -> Row:
    now_ns = time.time_ns()
    ground.runs()
    treated = ground.treated(name)
    last_ns = max((run.start_ns for run in treated if run.start_ns <= now_ns), default=fault_ns)
    baseline_s = max(0.0, (last_ns - fault_ns) / 1e9)
    agents, unharmed = _agents(ground, since_ns, now_ns)
    units = len({run.conversation for run in treated})
    ok = unharmed and baseline_s <= limit_s and ground.ledger_intact()
    return Row(fault, detected, units, baseline_s, _ledger(ground), agents, ok)


def _resumed(ground: Ground, name: str, row: Row) -> Row:
    """Wait until the policy, whose canary was never ended, treats again under a working controller."""
    since_ns, deadline = time.time_ns(), time.monotonic() + PATIENCE_S
    while not ground.treated(name, since_ns) and time.monotonic() < deadline:
        time.sleep(0.2)
    resumed = bool(ground.treated(name, since_ns))
    row.nothing_lost += ", went on afterwards" if resumed else ", did NOT go on"
    row.ok = row.ok and resumed
    ground.end(name)
    return row


def _ledger(ground: Ground) -> str:
    return "ledger intact" if ground.ledger_intact() else "ledger BROKEN"


def _agents(ground: Ground, since_ns: int, until_ns: int) -> tuple[str, bool]:
    """Return what users saw, and whether nothing raised; wrong answers of a harmful treatment are its harm."""
    ground.check_agents()
    outcomes = ground.outcomes(since_ns, until_ns)
    raised = [one for one in outcomes if (one["why"] or "").startswith("error:")]
    wrong = sum(not one["ok"] for one in outcomes)
    return f"{len(raised)} exceptions, {wrong} of {len(outcomes)} wrong", not raised


# A controller that starts reads all telemetry first, so those that start one come first.
SCENARIOS: Mapping[str, Callable[[Ground], Row]] = {
    "dead": dead_controller,
    "controller-clock": controller_clock,
    "corrupt": corrupt_files,
    "torn": torn_ledger,
    "disk": full_disk,
    "two": two_controllers,
    "agent-clocks": agent_clocks,
    "stale": stale_cache,
    "wrong": wrong_compression,
    "slow": slow_tool,
    "errors": error_burst,
}
