"""The faults, one function each: the ground in, a row with what was seen out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from importlib import resources

from ground import LEASE_S, PATIENCE_S, Ground
from row import LOOK_S, TURN_S, Row, row

from otel_perfopt.decide.kill_switch import switch_off
from otel_perfopt.decide.learned_file import LEARNED_FILE
from otel_perfopt.decide.ledger import REPAIR_EVENT, Ledger
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.decide.publish import SNAPSHOT_FILE
from otel_perfopt.decide.state import State
from otel_perfopt.loop.checkpoint import CHECKPOINT_FILE
from otel_perfopt.measure.home_prices import PRICES_FILE

SKEW_S = 90.0
KILL_PROMISE_S = 2.0
# By then every one of these harms is shown on any machine; a number of units, because seconds say nothing.
MOST_UNITS = 600
TRIAL = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: NAME, author: fault-injection}
spec:
  match: {command: [/task]MATCH}
  optimize:
    type: TYPE
    with: {WITH}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
    limits: {minUnits: 2000, maxUnits: 100000, maxDuration: 1h}
  goal: {metric: latency}
  guardrails:
    - {metric: task_failure, maxIncrease: 10pp}
"""
CUT = "minSaving: 1, tables: false, repeats: false, changes: false, maxChars: 50"
BLIND = "minChars: 0, dropTools: [refund_order, update_address, add_note]"


def stale(name: str) -> str:
    """Return the demo's harmful policy under another name."""
    text = resources.files("otel_perfopt.demo").joinpath("harmful.yaml").read_text(encoding="utf-8")
    return text.replace("generous-cache", name)


def trial(name: str, type_: str, parameters: str, match: str = "") -> str:
    """Return a policy of one optimization."""
    said = TRIAL.replace("NAME", name).replace("TYPE", type_).replace("WITH", parameters)
    return said.replace("MATCH", match)


def safe(name: str) -> str:
    """Return a policy that harms nobody: the documentation does not change."""
    return trial(name, "tool_cache", "ttl: 5m, scope: process", ", tool: [search_docs]")


# --- harm that treatment does -------------------------------------------------------------------


def stale_cache(ground: Ground) -> Row:
    """Customers and orders are kept while other people change them."""
    return _harm(ground, "stale cache", "stale-cache", stale("stale-cache"))


def wrong_compression(ground: Ground) -> Row:
    """Of every tool result the model sees the first and the last 25 characters."""
    name = "wrong-compression"
    return _harm(ground, "wrong compression", name, trial(name, "context_compression", CUT), harms=lambda _: True)


def wrong_selection(ground: Ground) -> Row:
    """The model is not offered the tools that its task needs."""
    name = "wrong-selection"
    return _harm(ground, "wrong selection", name, trial(name, "selective_context", BLIND), harms=lambda _: True)


def slow_tool(ground: Ground) -> Row:
    """Every read takes 0.6 s longer in treatment."""
    return _harm(ground, "slow tool", "slow-tool", safe("slow-tool"), mode="slow")


def error_burst(ground: Ground) -> Row:
    """The optimization raises on every call."""
    return _harm(ground, "error burst", "error-burst", safe("error-burst"), mode="errors")


def two_controllers(ground: Ground) -> Row:
    """A second controller works on the same home; the same harm as above is taken back once."""
    ground.start_controller()
    made = _harm(ground, "two controllers", "two-controllers", stale("two-controllers"))
    ground.kill_controllers()
    ground.start_controller()
    entries = [e for e in Ledger(ground.home / LEDGER_FILE).refresh() if e.policy == "two-controllers"]
    counts = [sum(e.event == event for e in entries) for event in ("expose", "rollback")]
    made.nothing_lost += f", {counts[0]} exposure and {counts[1]} roll-back written"
    made.ok = made.ok and counts == [1, 1]
    return made


def agent_clocks(ground: Ground) -> Row:
    """Three quarters of the agents are 90 s behind the controller and the others 90 s ahead, under a stale cache."""
    count = len(ground.agents)
    skew = dict.fromkeys(range(count), -SKEW_S) | dict.fromkeys(range(count * 3 // 4, count), SKEW_S)
    return _harm(ground, "agents' clocks ±90 s", "skewed-agents", stale("skewed-agents"), skew_s=skew)


def _harm(
    ground: Ground,
    fault: str,
    name: str,
    text: str,
    *,
    mode: str = "",
    skew_s: Mapping[int, float] | None = None,
    harms: Callable[[dict], bool] = lambda _outcome: False,
) -> Row:
    since_ns = time.time_ns()
    ground.switch(mode, skew_s)
    ground.declare(name, text)
    ground.until(lambda: _is_over(ground, name), f"{name} is taken back")
    taken_back_ns, detected = ground.moment(name, State.ROLLED_BACK), ""
    if taken_back_ns is not None:
        exposed_ns = ground.moment(name, State.CANARY) or taken_back_ns
        detected = f"{(taken_back_ns - exposed_ns) / 1e9:.1f} s: {_reason(ground, name)}"
    made = row(
        ground,
        fault,
        detected,
        name,
        since_ns=since_ns,
        fault_ns=taken_back_ns or time.time_ns(),
        promise_s=TURN_S + LOOK_S,
        harms=harms,
    )
    ground.switch()
    ground.end(name)
    return made


def _is_over(ground: Ground, name: str) -> bool:
    return ground.state(name) is State.ROLLED_BACK or len(ground.treated(name)) > MOST_UNITS


def _reason(ground: Ground, name: str) -> str:
    entries = Ledger(ground.home / LEDGER_FILE).refresh()
    said = next(e.reason for e in entries if e.policy == name and e.to_state == str(State.ROLLED_BACK))
    return said.split(":")[0].split(" (")[0]


# --- faults of the machinery --------------------------------------------------------------------


def dead_controller(ground: Ground) -> Row:
    """The controller is killed with SIGKILL; a new one goes on where it was."""
    return _without_controller(ground, "dead controller", "dead-controller")


def controller_clock(ground: Ground) -> Row:
    """A controller whose clock is 90 s ahead is killed: agents must not wait for 90 s more."""
    ground.kill_controllers()
    ground.start_controller(skew_s=SKEW_S)
    return _without_controller(ground, "controller's clock +90 s, dead", "controller-ahead")


def _without_controller(ground: Ground, fault: str, name: str) -> Row:
    since_ns = _begin(ground, name)
    killed_ns = ground.kill_controllers()
    made = row(ground, fault, "lease ran out", name, since_ns=since_ns, fault_ns=killed_ns, promise_s=LEASE_S + LOOK_S)
    ground.start_controller()
    return _resumed(ground, name, made)


def kill_file(ground: Ground) -> Row:
    """The controller is dead and somebody makes the kill file: no agent needs a controller to stop."""
    name = "kill-file"
    since_ns = _begin(ground, name)
    ground.kill_controllers()
    killed_ns = time.time_ns()
    switch_off(ground.home, None)
    made = row(
        ground,
        "kill file, no controller",
        "by every agent itself",
        name,
        since_ns=since_ns,
        fault_ns=killed_ns,
        promise_s=KILL_PROMISE_S,
    )
    switch_on_again(ground)
    ground.end(name)
    return made


def switch_on_again(ground: Ground) -> None:
    """Have a controller see the kill, and a person end it."""
    ground.start_controller()
    ground.until(lambda: ground.policies().journal.killed, "the kill is on the ledger")
    ground.policies().unkill(None, "second-person", "the scenario is over", time.time_ns())


def corrupt_files(ground: Ground) -> Row:
    """The snapshot is overwritten with rubbish, then a byte in the ledger is changed and the controller killed."""
    name = "corrupt-files"
    since_ns = _begin(ground, name)
    ledger = ground.home / LEDGER_FILE
    (ground.home / SNAPSHOT_FILE).write_bytes(b'{"version": 1, "decisions": [\xff')
    time.sleep(1.0)
    broken_ns = ground.kill_controllers()
    whole = ledger.read_bytes()
    middle = len(whole) // 2
    ledger.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    said = ground.controller_log(ground.start_controller())
    detected = "refused: file and line" if "ledger.jsonl:" in said else ""
    ledger.write_bytes(whole)  # no controller is left that could go on with it
    made = row(
        ground,
        "corrupt snapshot, ledger",
        detected,
        name,
        since_ns=since_ns,
        fault_ns=broken_ns,
        promise_s=LEASE_S + LOOK_S,
    )
    ground.kill_controllers()
    ground.start_controller()
    return _resumed(ground, name, made)


def corrupt_learned(ground: Ground) -> Row:
    """What was learned is rubbish when the controller starts again."""
    return _restarted_on(ground, "corrupt learned.json", LEARNED_FILE, b'{"format": "perfopt.learned", \xff')


def corrupt_checkpoint(ground: Ground) -> Row:
    """The notes of how far telemetry was read are rubbish when the controller starts again."""
    return _restarted_on(ground, "corrupt checkpoint.bin", CHECKPOINT_FILE, b"perfopt.checkpoint 1\nrubbish")


def corrupt_prices(ground: Ground) -> Row:
    """The table of prices is rubbish when the controller starts again."""
    made = _restarted_on(ground, "corrupt prices.json", PRICES_FILE, b'{"models": [')
    (ground.home / PRICES_FILE).unlink()
    return made


def _restarted_on(ground: Ground, fault: str, file: str, rubbish: bytes) -> Row:
    """Kill the controller, write rubbish, start it: said, no unit lost, and the canary goes on."""
    name = fault.replace(" ", "-").replace(".", "-")
    since_ns = _begin(ground, name)
    ground.until(lambda: (ground.compared(name) or 0) >= 5, f"{name} has units")
    before = ground.compared(name) or 0
    fault_ns = ground.kill_controllers()
    (ground.home / file).write_bytes(rubbish)
    started = ground.start_controller()
    ground.until(lambda: ground.compared(name) is not None, "all telemetry is read")
    after = ground.compared(name) or 0
    told = next((line for line in ground.controller_log(started).splitlines() if file in line), "")
    gone_on = bool(ground.treated(name, fault_ns))
    ground.policies().rollback(name, "second-person", "the scenario is over", time.time_ns())
    made = row(
        ground,
        fault,
        "said, with file" if told else "",
        name,
        since_ns=since_ns,
        fault_ns=time.time_ns(),
        promise_s=TURN_S + LOOK_S,
    )
    made.nothing_lost += f", {before} units before and {after} after"
    made.ok = made.ok and after >= before and gone_on
    ground.end(name)
    return made


def full_disk(ground: Ground) -> Row:
    """The disk of the home folder is full: telemetry, ledger and snapshot cannot grow."""
    name = "full-disk"
    since_ns = _begin(ground, name)
    dropped = ground.dropped()
    ground.disk.fill()
    full_ns = time.time_ns()
    made = row(ground, "full disk", "?", name, since_ns=since_ns, fault_ns=full_ns, promise_s=LEASE_S + LOOK_S)
    ground.disk.free()
    ground.until(lambda: ground.dropped() > dropped, "what was dropped is counted")
    made.detected = "cannot write, said" if "cannot" in ground.controller_log(ground.controllers[-1]) else "no"
    made.ok = made.ok and made.detected != "no"
    made.nothing_lost += f", {ground.dropped() - dropped} spans counted as dropped"
    return _resumed(ground, name, made)


def torn_ledger(ground: Ground) -> Row:
    """Half a line at the ledger's end, as a crash in the middle of a write leaves it."""
    name, ledger = "torn-ledger", ground.home / LEDGER_FILE
    last = ledger.read_bytes().splitlines()[-1]
    with ledger.open("ab") as file:
        file.write(last[: len(last) // 2])
        os.fsync(file.fileno())
    since_ns = _begin(ground, name)
    repairs = [e for e in Ledger(ledger).refresh() if e.event == REPAIR_EVENT]
    kept = list(ground.home.glob(f"{LEDGER_FILE}.torn-*"))
    back_ns = time.time_ns()
    ground.policies().rollback(name, "second-person", "the scenario is over", back_ns)
    detected = f"{len(repairs)} repair on the ledger, {len(kept)} side file" if repairs and kept else ""
    promise_s = TURN_S + LOOK_S
    made = row(ground, "torn ledger line", detected, name, since_ns=since_ns, fault_ns=back_ns, promise_s=promise_s)
    ground.end(name)
    return made


def _begin(ground: Ground, name: str) -> int:
    """Bring a safe policy into force and wait until it treats somebody; returns when that began."""
    since_ns = time.time_ns()
    ground.declare(name, safe(name))
    ground.until(lambda: len(ground.treated(name)) >= 3, f"{name} treats somebody")
    return since_ns


def _resumed(ground: Ground, name: str, made: Row) -> Row:
    """Wait until the policy, whose canary was never ended, treats again under a working controller."""
    since_ns, deadline = time.time_ns(), time.monotonic() + PATIENCE_S
    while not ground.treated(name, since_ns) and time.monotonic() < deadline:
        time.sleep(0.2)
    again = ground.treated(name, since_ns)
    after_s = (min(run.start_ns for run in again) - since_ns) / 1e9 if again else 0.0
    made.nothing_lost += f", went on after {after_s:.1f} s" if again else ", did NOT go on"
    made.ok = made.ok and bool(again)
    ground.end(name)
    return made


SCENARIOS: Mapping[str, Callable[[Ground], Row]] = {
    "stale": stale_cache,
    "compression": wrong_compression,
    "selection": wrong_selection,
    "slow": slow_tool,
    "errors": error_burst,
    "two": two_controllers,
    "agent-clocks": agent_clocks,
    "dead": dead_controller,
    "controller-clock": controller_clock,
    "kill": kill_file,
    "corrupt": corrupt_files,
    "learned": corrupt_learned,
    "checkpoint": corrupt_checkpoint,
    "prices": corrupt_prices,
    "torn": torn_ledger,
    "disk": full_disk,
}
