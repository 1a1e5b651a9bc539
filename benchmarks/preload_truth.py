"""What `preload` saves on the example agent, and what it wastes: rules mined from its own telemetry, then measured.

    python benchmarks/preload_truth.py [--learn 60] [--conversations 40] [--back-office]

First the agent works without any optimization, and `analyse` mines rules from what was recorded. Then
the same new conversations run at once as they are, with preload, with `tool_cache` besides, and with
`parallel_tools` besides those, each against back ends of its own. Printed are the time of a workflow (/query, then /task) against the
plain one (paired by conversation, 95 % interval), the share of early calls that nobody came for, and
how many commands failed. With `--back-office` somebody else changes the shop's rows meanwhile, and what
a write is checked against (`get_order`, `get_customer`) is not read ahead.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from opportunity_truth import realised, seconds_of, shown

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.decide.optimizations.preload import PreloadParameters
from otel_perfopt.demo.fleet import COMMANDS, EFFECTS, TOOLS
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.signal.read.recorded import open_recorded

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from support.launch import running_backends

VARIANTS = ("plain", "preload", "preload + cache", "all three")
CHECKED = ("get_order", "get_customer")
CONCURRENCY = 3


def mined(home: Path, options: argparse.Namespace) -> list[Decision]:
    """Return the preload policies that the analysis of a recording suggests, one a command."""
    analysis = analyse(RecordedExecutions(open_recorded([home / "telemetry"])))
    found = [
        finding
        for finding in analysis.findings
        if finding.suggestion
        and finding.suggestion.optimization == "preload"
        and finding.suggestion.parameters.get("rules")
    ]
    decisions = []
    for finding in found:
        assert finding.suggestion is not None
        parameters = PreloadParameters.model_validate(dict(finding.suggestion.parameters))
        command = finding.target.command
        print(f"{finding.summary}")
        for rule in parameters.rules:
            after = rule.after or f"{rule.after_command}, for {rule.command}"
            print(f"    after {after}: {rule.call}, right {rule.precision:.0%} of {rule.support} times")
        exclude = Match(tool=CHECKED) if options.back_office else Match()
        decisions.append(decision("preload", f"preload-{command.strip('/')}", parameters.published(), command, exclude))
    return decisions


def decision(
    optimization: str, policy: str, parameters: Mapping[str, object], command: str = "", exclude: Match | None = None
) -> Decision:
    return Decision(
        policy=policy,
        digest="0" * 16,
        optimization=optimization,
        stage="active",
        allocation=Allocation(treatment=1.0),
        parameters=parameters,
        match=Match(command=(command,) if command else (), tool_effects=("read",)),
        exclude=exclude or Match(),
        effects=EFFECTS,
    )


def put_in_force(home: Path, decisions: Sequence[Decision]) -> None:
    home.mkdir(parents=True)
    snapshot = Snapshot(generation=1, generated_at_ns=time.time_ns(), lease_s=3600.0, decisions=tuple(decisions))
    (home / "snapshot.json").write_text(snapshot.to_json())


def started(home: Path, backend: Mapping[str, str], first: int, conversations: int) -> subprocess.Popen[bytes]:
    effects = tuple(f"{tool}={effect}" for tool, effect in EFFECTS.items())
    environment = run_environment({**os.environ, **backend}, home, tools=TOOLS, commands=COMMANDS, effects=effects)
    flat = ["--conversations", conversations, "--first", first, "--concurrency", CONCURRENCY, "--pause", 0.5]
    with (home / "agent.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "support.workload", *map(str, flat), "--out", str(home / "outcomes.jsonl")],
            env=environment,
            stdout=log,
            stderr=log,
        )


def counted(home: Path) -> Counter[str]:
    """Return what the policies say they did, summed over all commands."""
    counts: Counter[str] = Counter()
    for execution in RecordedExecutions(open_recorded([home / "telemetry"])).executions():
        for name, value in execution.command.attributes.items():
            prefix, _, field = name.rpartition(".")
            if prefix.startswith("perfopt.policy.preload") and isinstance(value, int):
                counts[field] += value
    return counts


def outcomes(home: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (home / "outcomes.jsonl").read_text().splitlines()]


def tell(name: str, homes: Mapping[str, Path]) -> None:
    plain, treated = seconds_of(homes["plain"]), seconds_of(homes[name])
    commands: dict[str, set[str]] = {}
    for outcome in outcomes(homes["plain"]):
        commands.setdefault(str(outcome["conversation"]), set()).add(str(outcome["command"]))
    workflows = {key: value for key, value in plain.items() if commands[key] == {"/query", "/task"}}
    counts = counted(homes[name])
    early, failed = counts["started"], sum(not outcome["ok"] for outcome in outcomes(homes[name]))
    wasted = f"{counts['wasted']} of {early} early calls wasted ({counts['wasted'] / early:.0%})" if early else ""
    print(
        f"{name:15} workflow {sum(treated[key] for key in workflows) / len(workflows):.3f} s, "
        f"saved {shown(realised(workflows, treated))} of {len(workflows)} workflows; "
        f"{failed} of {len(outcomes(homes[name]))} commands failed or wrong. {wasted}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learn", type=int, default=60)
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--back-office", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        backends = {
            name: stack.enter_context(
                running_backends(folder / f"backends-{VARIANTS.index(name)}", back_office=options.back_office)
            )
            for name in VARIANTS
        }
        learning = folder / "learning"
        learning.mkdir()
        started(learning, backends["plain"], 0, options.learn).wait()
        preload = mined(learning, options)
        exclude = Match(tool=CHECKED) if options.back_office else Match()
        cache = decision("tool_cache", "tool-cache", {"ttl_s": 30.0, "scope": "conversation"}, exclude=exclude)
        parallel = decision("parallel_tools", "parallel-tools", {"max_concurrency": 8})
        in_force = {
            "preload": preload,
            "preload + cache": [*preload, cache],
            "all three": [*preload, cache, parallel],
        }
        homes = {name: folder / name.replace(" ", "-") for name in VARIANTS}
        for name, home in homes.items():
            put_in_force(home, in_force.get(name, ()))
        running = [started(homes[name], backends[name], options.learn, options.conversations) for name in VARIANTS]
        for process in running:
            process.wait()
        for name in VARIANTS:
            tell(name, homes)


if __name__ == "__main__":
    main()
