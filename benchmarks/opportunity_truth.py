"""Predicted against realised savings on the example agent: trials in, how often the two agree out.

    python benchmarks/opportunity_truth.py [--trials 10] [--conversations 12] [--cases tool_cache,preload]

In each trial and for each optimization the same new conversations run twice at once, each against back ends of
its own: as they are, and with the optimization in force for everybody. The plain run's recording
predicts, by replay, what the other saves; the conversations' own times (or the tokens their model counted) say
what it did. `preload` and `selective_context` learn from another recording first, which also says what their
policies hold (of `selective_context` the tools alone, which is what a replay can tell); for `response_cache` each conversation of questions is held twice. Printed are both with their 95 %
intervals (over conversations) and the bound, how often the predicted interval holds what was realised, and how
often the two differ by no more than both are unsure.
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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from opportunity_cases import CASES, Case, predicted, rule_of, runs_of, spent, teach

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.units import ratio_interval
from otel_perfopt.analyse.what_if import LATENCY
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.decision import Decision, Snapshot
from otel_perfopt.demo.fleet import COMMANDS, EFFECTS, TOOLS
from otel_perfopt.execution.model import Execution

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from support.launch import running_backends

Seconds = Mapping[str, float]
TWICE = "import sys; from support import workload; [workload.main(sys.argv[1:]) for again in range(2)]"


def put_in_force(home: Path, decisions: Sequence[Decision]) -> None:
    """Publish a snapshot with the decisions."""
    snapshot = Snapshot(generation=1, generated_at_ns=time.time_ns(), lease_s=3600.0, decisions=tuple(decisions))
    home.mkdir(parents=True, exist_ok=True)
    (home / "snapshot.json").write_text(snapshot.to_json())


def started(
    home: Path, backend: Mapping[str, str], first: int, conversations: int, *, twice: bool = False
) -> subprocess.Popen[bytes]:
    home.mkdir(parents=True, exist_ok=True)
    effects = tuple(f"{tool}={effect}" for tool, effect in EFFECTS.items())
    environment = run_environment({**os.environ, **backend}, home, tools=TOOLS, commands=COMMANDS, effects=effects)
    arguments = {
        "--conversations": conversations,
        "--first": first,
        "--concurrency": 3,
        "--pause": 0.2,
        "--out": home / "outcomes.jsonl",
        **({"--commands": "query"} if twice else {}),
    }
    flat = [str(item) for pair in arguments.items() for item in pair]
    how = ("-c", TWICE) if twice else ("-m", "support.workload")
    log = (home / "agent.log").open("wb")
    with log:
        return subprocess.Popen([sys.executable, *how, *flat], env=environment, stdout=log, stderr=log)


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


def agree(one: Interval, other: Interval) -> bool:
    """Tell whether two independent estimates differ by no more than the interval of their difference."""
    half = ((one.high - one.low) ** 2 + (other.high - other.low) ** 2) ** 0.5 / 2
    return abs(one.estimate - other.estimate) <= half


def shown(share: Interval | None) -> str:
    return "none" if share is None else f"{share.estimate:6.1%} ({share.low:6.1%} to {share.high:6.1%})"


def came_of(case: Case, plain: Path, treated: Path) -> Interval:
    """Return what was realised."""
    if case.metric == LATENCY:
        return realised(seconds_of(plain), seconds_of(treated))
    return realised(spent(runs_of(plain), case.metric), spent(runs_of(treated), case.metric))


def learned(folder: Path, backends: Sequence[Mapping[str, str]], options: argparse.Namespace) -> Sequence[Execution]:
    """Return the runs of a recording that no trial is made with."""
    started(folder / "learn", backends[0], 100_000, options.learn).wait()
    return runs_of(folder / "learn")


def trial(
    case: Case, folder: Path, backends: Sequence[Mapping[str, str]], first: int, count: int, before: Sequence[Execution]
) -> tuple[Interval | None, Interval, Interval]:
    """Return the predicted and the realised saving, and the bound."""
    rule = rule_of(case)
    if case.learns:
        teach(rule, before)
    commands = sorted({run.command.name for run in before})
    homes = [folder / "plain", folder / "treated"]
    put_in_force(homes[1], case.decide(rule, commands))
    running = [
        started(home, backend, first, count, twice=case.repeats) for home, backend in zip(homes, backends, strict=True)
    ]
    for process in running:
        process.wait()
    foreseen, bound = predicted(rule, runs_of(homes[0]), everything=not case.learns)
    return foreseen, came_of(case, *homes), bound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--conversations", type=int, default=12)
    parser.add_argument("--learn", type=int, default=40)
    parser.add_argument("--cases", default=",".join(case.optimization for case in CASES))
    options = parser.parse_args()
    cases = [case for case in CASES if case.optimization in options.cases.split(",")]
    outcomes: dict[str, list[tuple[Interval | None, Interval]]] = {case.optimization: [] for case in cases}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        backends = [
            stack.enter_context(running_backends(folder / f"backends-{name}", back_office=False))
            for name in ("plain", "treated")
        ]
        before = learned(folder, backends, options) if any(case.learns for case in cases) else []
        for number in range(options.trials):
            for place, case in enumerate(cases):
                first = (number * len(CASES) + place) * options.conversations
                home = folder / f"{number}-{case.optimization}"
                foreseen, came, bound = trial(case, home, backends, first, options.conversations, before)
                outcomes[case.optimization].append((foreseen, came))
                print(
                    f"{number:3} {case.optimization:17} predicted {shown(foreseen)}  realised {shown(came)}  "
                    f"at most {bound.estimate:.1%}",
                    flush=True,
                )
    for name, pairs in outcomes.items():
        tell(name, pairs)


def tell(name: str, pairs: Sequence[tuple[Interval | None, Interval]]) -> None:
    known = [(foreseen, came) for foreseen, came in pairs if foreseen is not None]
    held = sum(foreseen.low <= came.estimate <= foreseen.high for foreseen, came in known)
    agreed = sum(agree(foreseen, came) for foreseen, came in known)
    print(
        f"{name:17} predicted in {len(known)} of {len(pairs)} trials; realised inside the predicted interval {held} of "
        f"{len(known)}, agree within both intervals {agreed} of {len(known)} ({shown(wilson(agreed, len(known)))})"
    )


if __name__ == "__main__":
    main()
