"""What a turn with a few new units costs when many are known: the comparison kept up with against one made anew.

Run: python benchmarks/controller_turn.py [UNITS]; both ways in turns in one run, with the spread, and a whole turn.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "loop"))

from controller_restart import POLICY
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.loop.controller import Controller
from otel_perfopt.loop.plan import comparison_plan
from otel_perfopt.verify.comparison import comparison_of
from otel_perfopt.verify.running_comparison import RunningComparison
from otel_perfopt.verify.units import UnitTable

TURNS = 15
NEW = 5


def main() -> None:
    units = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        fleet = SimulatedFleet(home)
        (home / "policies").mkdir()
        (home / "policies" / "parallel.yaml").write_text(POLICY)
        controller = Controller(home, fleet.clock)
        controller.policies.approve("parallel", "ann", "", fleet.now_ns)
        controller.turn()
        fleet.converse(units)
        fleet.now_ns += 60 * SECOND
        controller.turn()
        table: UnitTable = controller.observatory._units  # noqa: SLF001 - what the controller knows
        status = controller.policies.status("parallel", fleet.now_ns)
        decision = fleet.snapshot().decisions[0]
        plan, trial = comparison_plan(status.policy, status.state), ("parallel", status.digest)
        running = RunningComparison(decision, plan)
        running.follow(table)
        measured: dict[str, list[float]] = {"made anew": [], "kept up with": [], "whole turn": []}
        for _ in range(TURNS):
            fleet.converse(NEW)
            fleet.now_ns += 2 * SECOND
            measured["whole turn"].append(_seconds(controller.turn))
            measured["made anew"].append(
                _seconds(lambda: comparison_of(decision, plan, tuple(table.units(*trial)), table.exclusions(*trial)))
            )
            measured["kept up with"].append(_seconds(lambda: running.follow(table)))
            assert len(running.units) == len(list(table.units(*trial)))
    print(f"{units} units known, {NEW} new ones a turn, {TURNS} turns")
    for way, seconds in measured.items():
        print(
            f"{way}: median {_median(seconds) * 1000:.1f} ms ({min(seconds) * 1000:.1f} to {max(seconds) * 1000:.1f})"
        )
    print(f"ratio of the medians: {_median(measured['made anew']) / _median(measured['kept up with']):.0f}")


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _median(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


if __name__ == "__main__":
    main()
