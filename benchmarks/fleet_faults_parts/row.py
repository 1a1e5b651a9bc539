"""What became of one fault: the ground and times in, one checked row out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ground import Ground, Run

# What an agent needs to see a snapshot or a kill file (it looks four times a second), and a turn of the controller.
LOOK_S = 0.5
TURN_S = 2.0
# A machine that wakes up a thread that late is late with everything: reading, writing, looking, in turn.
LAGS = 4
_QUIET_S = 1.0


@dataclass
class Row:
    """One fault's row; `limit_s` is what was promised and what this machine may be late by."""

    fault: str
    detected: str
    exposed: int
    baseline_s: float | None
    limit_s: float | None
    nothing_lost: str
    agents: str
    ok: bool


def allowed(ground: Ground, promise_s: float) -> float:
    """Return a promise with what the machine was late by, measured while it was kept."""
    return promise_s + LAGS * ground.lag.worst_s


def back_at_baseline(ground: Ground, name: str, since_ns: int) -> list[Run]:
    """Wait until nobody is treated any more: two commands an agent began a second and more after the last treated one.

    Returns the runs treated since `since_ns`.
    """
    found: list[Run] = []

    def quiet() -> bool:
        found[:] = ground.treated(name)
        last_ns = max((run.start_ns for run in found), default=since_ns)
        after_ns = max(last_ns, since_ns) + int(_QUIET_S * 1e9)
        return sum(run.start_ns >= after_ns for run in ground.runs()) >= 2 * len(ground.agents)

    ground.until(quiet, f"{name} treats nobody any more")
    return found


def row(
    ground: Ground,
    fault: str,
    detected: str,
    name: str,
    *,
    since_ns: int,
    fault_ns: int,
    promise_s: float,
    harms: Callable[[dict], bool] = lambda _outcome: False,
) -> Row:
    """Wait for baseline and return the row; `harms` says which outcomes are the harm that the treatment itself does."""
    treated = back_at_baseline(ground, name, fault_ns)
    last_ns = max((run.start_ns for run in treated), default=fault_ns)
    baseline_s, limit_s = max(0.0, (last_ns - fault_ns) / 1e9), allowed(ground, promise_s)
    agents, unharmed = _agents(ground, since_ns, {run.conversation for run in treated}, harms)
    intact = ground.ledger_intact()
    ok = bool(detected) and unharmed and intact and baseline_s <= limit_s
    ledger = "ledger intact" if intact else "ledger BROKEN"
    units = len({run.conversation for run in treated})
    return Row(fault, detected or "no", units, baseline_s, limit_s, ledger, agents, ok)


def _agents(ground: Ground, since_ns: int, treated: set[str], harms: Callable[[dict], bool]) -> tuple[str, bool]:
    """Return what users saw, and whether nothing raised and nobody but the treated got a worse answer than before."""
    ground.check_agents()
    outcomes = ground.outcomes(since_ns)
    raised = [one for one in outcomes if (one["why"] or "").startswith("error:")]
    ours = [one for one in raised if not (one["conversation"] in treated and harms(one))]
    spared = [one for one in outcomes if one["conversation"] not in treated]
    wrong = [sum(not one["ok"] for one in some) for some in (outcomes, spared)]
    told = f"{len(ours)} exceptions; wrong: {wrong[1]} of {len(spared)} untreated"
    return f"{told}, {wrong[0] - wrong[1]} of {len(outcomes) - len(spared)} treated", not ours
