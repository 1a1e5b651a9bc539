"""Faults injected into the running example fleet: 8 agent processes under a real controller; one row a fault out.

python benchmarks/fleet_faults.py                # every fault; under six minutes on two cores that do nothing else
python benchmarks/fleet_faults.py stale disk     # some of them
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent / "fleet_faults_parts"))

from ground import Ground
from row import LAGS, Row
from scenarios import SCENARIOS

from otel_perfopt.demo.fleet import backends
from otel_perfopt.errors import PerfoptError

AGENTS = 8
AT_ONCE = 2
WARM_COMMANDS = 40
FLUSH_S = 3.0


def run(
    names: list[str], folder: Path, agents: int = AGENTS, tell: Callable[[str], None] = lambda _line: None
) -> tuple[list[Row], Row]:
    """Run the named faults one after another in one fleet; returns their rows and the account at the end."""
    rows = []
    with backends(folder / "shop") as backend:
        ground = Ground(folder / "fleet", backend, agents, AT_ONCE, own_disk="disk" in names)
        try:
            try:
                ground.start_controller()
                ground.wait_for_traffic(WARM_COMMANDS)
                for name in names:
                    rows.append(_tried(name, ground))
                    tell(f"{name}: {rows[-1]}")
            finally:
                ground.stop()
            return rows, _account(ground)
        finally:
            ground.disk.unmount()


def _tried(name: str, ground: Ground) -> Row:
    ground.lag.begin()
    started = time.monotonic()
    try:
        row = SCENARIOS[name](ground)
    except PerfoptError as error:
        return Row(name, f"NOT SHOWN: {error}", 0, None, None, "", "", ok=False)
    took, load = time.monotonic() - started, os.getloadavg()[0]
    row.fault += f" ({took:.0f} s, load {load:.0f}, {ground.lag.worst_s * 1000:.0f} ms late)"
    return row


def _account(ground: Ground) -> Row:
    """Say whether every command that users saw is in the telemetry, or counted as lost."""
    time.sleep(FLUSH_S)
    seen = {one["conversation"] for agent in ground.agents for one in agent.outcomes}
    missing, dropped = len(seen - ground.told()), ground.dropped()
    ended = sum(agent.process.returncode == 0 for agent in ground.agents)
    lost = f"{missing} of {len(seen)} commands not in the telemetry, {dropped} spans counted as dropped"
    ok = ended == len(ground.agents) and (not missing or dropped >= missing) and ground.ledger_intact()
    return Row("in all", "", 0, None, None, lost, f"{ended} of {len(ground.agents)} ended by themselves", ok)


def table(rows: list[Row]) -> Table:
    """Return the rows as a table."""
    made = Table(title="Faults in the running fleet", title_justify="left", show_lines=True)
    for column in ("fault", "detected", "units exposed", "to baseline", "nothing lost", "agents", ""):
        made.add_column(column, overflow="fold")
    for row in rows:
        to_baseline = "" if row.baseline_s is None else f"{row.baseline_s:.1f} s (limit {row.limit_s:.1f} s)"
        verdict = "ok" if row.ok else "FAILED"
        made.add_row(row.fault, row.detected, str(row.exposed), to_baseline, row.nothing_lost, row.agents, verdict)
    return made


def main() -> int:
    """Run what was asked for and print the table; 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", help=f"any of {', '.join(SCENARIOS)}; all without")
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--folder", type=Path, help="kept afterwards; a temporary one if not given")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perfopt-faults-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        names = options.faults or list(SCENARIOS)
        rows, account = run(names, folder, options.agents, lambda line: print(line, flush=True))
    Console(width=170).print(table([*rows, account]))
    print(
        "to baseline: from the fault, kill or roll-back to the last command that began in treatment; limit: what the"
        f" lease (6 s), kill (2 s) or a turn (2.5 s) promises, and {LAGS} times what a thread of this process was late by"
    )
    print(
        f"{time.monotonic() - started:.0f} s in all on {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} at the end"
    )
    return int(not all(row.ok for row in (*rows, account)))


if __name__ == "__main__":
    sys.exit(main())
