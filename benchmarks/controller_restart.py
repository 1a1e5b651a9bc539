"""How long a controller's first turn takes after a restart: all telemetry read anew against going on from its checkpoint.

Run: python benchmarks/controller_restart.py [CONVERSATIONS]; both ways in one run, three times each, with the spread.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "loop"))

from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.loop.checkpoint import CHECKPOINT_FILE
from otel_perfopt.loop.controller import Controller

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}], limits: {minUnits: 90000, maxUnits: 900000, maxDuration: 90d}}
  goal: {metric: latency, improve: 90%}
"""
TIMES = 3


def main() -> None:
    conversations = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        fleet = SimulatedFleet(home)
        (home / "policies").mkdir()
        (home / "policies" / "parallel.yaml").write_text(POLICY)
        controller = Controller(home, fleet.clock)
        controller.policies.approve("parallel", "ann", "", fleet.now_ns)
        controller.turn()
        fleet.converse(conversations)
        fleet.now_ns += 60 * SECOND
        controller.turn()
        checkpoint = home / CHECKPOINT_FILE
        kept = checkpoint.read_bytes()
        measured: dict[str, list[float]] = {"anew": [], "from the checkpoint": []}
        for _ in range(TIMES):
            for way, seconds in measured.items():
                checkpoint.unlink(missing_ok=True)
                if way != "anew":
                    checkpoint.write_bytes(kept)
                started = time.perf_counter()
                turn = Controller(home, fleet.clock).turn()
                seconds.append(time.perf_counter() - started)
                assert len(turn.standings["parallel"].units) == conversations
        print(
            f"{conversations} units, telemetry {fleet.file.stat().st_size / 1e6:.1f} MB, checkpoint {len(kept) / 1e6:.1f} MB"
        )
        for way, seconds in measured.items():
            print(
                f"first turn {way}: median {sorted(seconds)[TIMES // 2]:.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
            )
        anew, resumed = (sorted(seconds)[TIMES // 2] for seconds in measured.values())
        print(f"ratio of the medians: {anew / resumed:.1f}")


if __name__ == "__main__":
    main()
