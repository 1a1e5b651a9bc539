"""Faults injected into the running example fleet: 8 agent processes under a real controller; one row a fault out.

python benchmarks/fleet_faults.py                # every fault, under six minutes
python benchmarks/fleet_faults.py stale disk     # some of them
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent / "fleet_faults_parts"))

from ground import Ground
from scenarios import SCENARIOS, Row

from otel_perfopt.demo.fleet import backends
from otel_perfopt.errors import PerfoptError

AGENTS = 8
AT_ONCE = 4
WARM_COMMANDS = 40
FLUSH_S = 3.0


def run(
    names: list[str], folder: Path, agents: int = AGENTS, tell: Callable[[str], None] = lambda _line: None
) -> tuple[list[Row], Row]:
    """Run the named faults one after another in one fleet; returns their rows and the account at the end."""
    rows = []
    with backends(folder / "shop") as backend:
        ground = Ground(folder / "fleet", backend, agents, AT_ONCE)
        try:
            ground.start_controller()
            ground.wait_for_traffic(WARM_COMMANDS, 90)
            for name in names:
                started = time.monotonic()
                rows.append(_tried(name, ground))
                tell(f"{name} ({time.monotonic() - started:.0f} s): {rows[-1]}")
        finally:
            ground.stop()
        return rows, _account(ground)


def _tried(name: str, ground: Ground) -> Row:
    try:
        return SCENARIOS[name](ground)
    except PerfoptError as error:
        return Row(name, f"NOT SHOWN: {error}", 0, None, "", "", ok=False)


def _account(ground: Ground) -> Row:
    """Say whether every command that users saw is in the telemetry, or counted as lost."""
    time.sleep(FLUSH_S)
    seen = {one["conversation"] for agent in ground.agents for one in agent.outcomes}
    kept = {one.conversation for one in ground.runs()}
    missing, dropped = len(seen - kept), ground.dropped()
    ended = sum(agent.process.returncode == 0 for agent in ground.agents)
    lost = f"{missing} of {len(seen)} commands not in the telemetry, {dropped} spans counted as dropped"
    ok = ended == len(ground.agents) and (not missing or dropped >= missing) and ground.ledger_intact()
    return Row("in all", "", 0, None, lost, f"{ended} of {len(ground.agents)} ended by themselves", ok)


def table(rows: list[Row]) -> Table:
    """Return the rows as a table."""
    made = Table(title="Faults in the running fleet", title_justify="left", show_lines=True)
    for column in ("fault", "detected", "units exposed", "to baseline", "nothing lost", "agents", ""):
        made.add_column(column, overflow="fold")
    for row in rows:
        to_baseline = "" if row.baseline_s is None else f"{row.baseline_s:.1f} s"
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
        rows, account = run(
            options.faults or list(SCENARIOS), folder, options.agents, lambda line: print(line, flush=True)
        )
    Console(width=160).print(table([*rows, account]))
    print(f"{time.monotonic() - started:.0f} s in all")
    return int(not all(row.ok for row in (*rows, account)))


if __name__ == "__main__":
    sys.exit(main())
