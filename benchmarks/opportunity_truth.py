"""Predicted against realised savings on the example agent: trials in, how often the two agree out.

    python benchmarks/opportunity_truth.py [--trials 10] [--conversations 12]

Each trial runs the same conversations three times at once, each against back ends of its own: as
they are, with `tool_cache` and with `parallel_tools` in force for everybody. The first run's
recording predicts, by replay, what each of the others saves; the conversations' own times say
what it did. Printed are both with their 95 % intervals (over conversations), and how often the
predicted interval holds what was realised, and the two differ by no more than both are unsure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.units import ratio_interval
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.demo.fleet import COMMANDS, EFFECTS, TOOLS
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.signal.read.recorded import open_recorded

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from support.launch import running_backends

PARAMETERS = {"tool_cache": {"ttl_s": 300.0, "scope": "conversation"}, "parallel_tools": {"max_concurrency": 8}}
VARIANTS = ("baseline", *PARAMETERS)
Seconds = Mapping[str, float]


def in_force(home: Path, optimization: str) -> None:
    """Publish a snapshot in which the optimization is in force for every conversation."""
    decision = Decision(
        policy=optimization,
        digest="0" * 16,
        optimization=optimization,
        stage="active",
        allocation=Allocation(treatment=1.0),
        parameters=PARAMETERS[optimization],
        match=Match(tool_effects=("read",)),
        effects=EFFECTS,
    )
    snapshot = Snapshot(generation=1, generated_at_ns=time.time_ns(), lease_s=3600.0, decisions=(decision,))
    home.mkdir(parents=True, exist_ok=True)
    (home / "snapshot.json").write_text(snapshot.to_json())


def started(home: Path, backend: Mapping[str, str], options: argparse.Namespace, trial: int) -> subprocess.Popen[bytes]:
    effects = tuple(f"{tool}={effect}" for tool, effect in EFFECTS.items())
    environment = run_environment({**os.environ, **backend}, home, tools=TOOLS, commands=COMMANDS, effects=effects)
    arguments = {
        "--conversations": options.conversations,
        "--first": trial * options.conversations,
        "--concurrency": 3,
        "--pause": 0.2,
        "--out": home / "outcomes.jsonl",
    }
    flat = [str(item) for pair in arguments.items() for item in pair]
    log = (home / "agent.log").open("wb")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "support.workload", *flat], env=environment, stdout=log, stderr=log
        )


def seconds_of(home: Path) -> Seconds:
    """Return the seconds each conversation's commands took together."""
    seconds: dict[str, float] = defaultdict(float)
    for line in (home / "outcomes.jsonl").read_text().splitlines():
        outcome = json.loads(line)
        seconds[outcome["conversation"]] += outcome["seconds"]
    return seconds


def realised(baseline: Seconds, treated: Seconds) -> Interval:
    names = sorted(baseline.keys() & treated.keys())
    wholes = np.array([baseline[name] for name in names])
    return ratio_interval(wholes - np.array([treated[name] for name in names]), wholes)


def predicted(home: Path, optimization: str) -> Interval | None:
    """Return the saving of the optimization on all its targets together, as the replay of the recording gives it."""
    analysis = analyse(RecordedExecutions(open_recorded([home / "telemetry"])))
    shares = [item.share for item in analysis.opportunities if item.optimization == optimization and item.share]
    if not shares:
        return None
    # Tools' savings come together in the same conversations, so their deviations are added.
    return Interval(*(sum(ends) for ends in zip(*((s.estimate, s.low, s.high) for s in shares), strict=True)))


def agree(one: Interval, other: Interval) -> bool:
    """Tell whether two independent estimates differ by no more than the interval of their difference."""
    half = ((one.high - one.low) ** 2 + (other.high - other.low) ** 2) ** 0.5 / 2
    return abs(one.estimate - other.estimate) <= half


def shown(share: Interval | None) -> str:
    return "none" if share is None else f"{share.estimate:6.1%} ({share.low:6.1%} to {share.high:6.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--conversations", type=int, default=12)
    options = parser.parse_args()
    held = dict.fromkeys(PARAMETERS, 0)
    agreed = dict.fromkeys(PARAMETERS, 0)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        backends = {
            name: stack.enter_context(running_backends(folder / f"backends-{name}", back_office=False))
            for name in VARIANTS
        }
        for trial in range(options.trials):
            homes = {name: folder / f"{trial}-{name}" for name in VARIANTS}
            for name, home in homes.items():
                home.mkdir()
                if name in PARAMETERS:
                    in_force(home, name)
            for process in [started(homes[name], backends[name], options, trial) for name in VARIANTS]:
                process.wait()
            baseline = seconds_of(homes["baseline"])
            for name in PARAMETERS:
                foreseen, came = predicted(homes["baseline"], name), realised(baseline, seconds_of(homes[name]))
                if foreseen is None:
                    print(f"{trial:3} {name:15} nothing predicted, realised {shown(came)}")
                    continue
                held[name] += foreseen.low <= came.estimate <= foreseen.high
                agreed[name] += agree(foreseen, came)
                print(f"{trial:3} {name:15} predicted {shown(foreseen)}  realised {shown(came)}", flush=True)
    for name in PARAMETERS:
        print(
            f"{name:15} realised inside the predicted interval {held[name]} of {options.trials}, "
            f"agree within both intervals {agreed[name]} of {options.trials} ({shown(wilson(agreed[name], options.trials))})"
        )


if __name__ == "__main__":
    main()
