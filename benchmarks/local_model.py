"""Real prefix caching and real time: SmolLM2 on this machine, asked through the openai client under real policies.

    python benchmarks/local_model.py [--prepare] [--conversations 4] [--from ours|tau-bench] [--only selective_context,…]

A conversation is replayed by each agent in turn, each in a process and under a snapshot file of its own, against
one server. Printed are, for each way, medians over turns beside the same turn of the same conversation without it:
time to the first token, prompt tokens, those the model read anew and those its cache gave (the server counts them), with
95 % bootstrap intervals over conversations; and whether the reused beginning of a prompt ever shrank from one turn to the next.

The server has one slot, which remembers one prompt: agents take turns by whole conversations, and each conversation
begins after something else was asked, so that nobody finds what another left. Inside a conversation a turn finds what
the turn before left: that is the cache that is measured. Who asks the same again finds all of it there even
without any policy.

With `--part quality` the same model answers questions from a handbook (72 of our own making, with known answers and
sections that mislead) with the whole handbook, under `selective_context`, and with the needed section alone, which is the bound.
A judge without a model scores the answers; scores go out as `gen_ai.evaluation.result` events and are read again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from local_model_parts import conversations, environment, quality
from local_model_parts.agents import VARIANTS, Agent, Variant, running

from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.signal.read.recorded import open_recorded

DRAWS = 2000
Row = dict[str, float]
Rows = dict[str, dict[str, list[Row]]]  # by variant and conversation


def chosen(only: str) -> list[Variant]:
    named = {name.strip() for name in only.split(",")} if only else {one.name for one in VARIANTS}
    # What it is compared with, and what that is compared with.
    for one in reversed(VARIANTS):
        named |= {one.beside} if one.name in named else set()
    return [one for one in VARIANTS if one.name in named]


def interval(groups: list[list[float]]) -> str:
    """Return the median of all values with a bootstrap interval that draws whole conversations."""
    flat = np.concatenate([np.array(group) for group in groups])
    chance = np.random.default_rng(0)
    drawn = [
        np.median(np.concatenate([np.array(groups[index]) for index in chance.integers(0, len(groups), len(groups))]))
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{np.median(flat):+8.1%} [{low:+.0%}, {high:+.0%}]"


def beside(rows: Rows, variant: Variant, measure: str, kind: str = "turn") -> str:
    groups = []
    for name, mine in rows[variant.name].items():
        theirs = {(row["kind"], row["turn"]): row for row in rows[variant.beside][name]}
        pairs = [(row, theirs[row["kind"], row["turn"]]) for row in mine if row["kind"] == kind]
        groups.append([one[measure] / other[measure] - 1 for one, other in pairs if other[measure] > 0])
    groups = [group for group in groups if group]
    return interval(groups) if len(groups) > 1 else "too few"


def total(rows: Rows, variant: Variant, measure: str) -> float:
    return sum(row[measure] for found in rows[variant.name].values() for row in found if row["kind"] == "turn")


def shrunk(rows: Rows, variant: Variant) -> tuple[int, int]:
    """Return in how many turns less than what the turn before had sent was found in the cache, and of how many."""
    pairs = [
        pair
        for found in rows[variant.name].values()
        for pair in pairwise([row for row in found if row["kind"] == "turn"])
    ]
    # The end of a prompt, where the reply is asked for, is another text in the next one.
    return sum(later["cached"] < earlier["prompt"] - 8 for earlier, later in pairs), len(pairs)


def print_figures(rows: Rows, variants: list[Variant]) -> None:
    turns = sum(row["kind"] == "turn" for found in rows["plain"].values() for row in found)
    print(f"\n{len(rows['plain'])} conversations, {turns} turns for each way; medians of paired turns")
    heads = ("time to first token", "prompt tokens", "read anew", "of all: read anew, from cache", "shrank")
    print(f"{'way':24}" + "".join(f"{head:>30}" for head in heads))
    for variant in variants:
        read, cached, sent = (total(rows, variant, name) for name in ("evaluated", "cached", "prompt"))
        lost, pairs = shrunk(rows, variant)
        is_base = variant.name == variant.beside
        cells = [
            f"{absolute(rows, variant, 'first_s', ' s')}" if is_base else beside(rows, variant, "first_s"),
            f"{absolute(rows, variant, 'prompt', '')}" if is_base else beside(rows, variant, "prompt"),
            f"{absolute(rows, variant, 'evaluated', '')}" if is_base else beside(rows, variant, "evaluated"),
            f"{read:,.0f}, {cached:,.0f} ({cached / sent:.0%})",
            f"{lost} of {pairs}",
        ]
        print(f"{variant.name:24}" + "".join(f"{cell:>30}" for cell in cells))
        if variant.beside != "plain":
            print(f"{'':24}  beside {variant.beside}")
    for variant in variants:
        if variant.optimization == "response_cache":
            print(f"asked again, {variant.name} beside plain (whose prompt is all cached): ", end="")
            print(f"time {beside(rows, variant, 'seconds', 'asked again')}")


def absolute(rows: Rows, variant: Variant, measure: str, unit: str) -> str:
    values = [row[measure] for found in rows[variant.name].values() for row in found if row["kind"] == "turn"]
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return f"{middle:.3g}{unit} ({low:.3g} to {high:.3g})"


def print_telemetry(agents: dict[str, Agent]) -> None:
    """Print what our own instrumentation recorded of the same calls."""
    for name, agent in agents.items():
        used = [run.tokens for run in RecordedExecutions(open_recorded([agent.home / "telemetry"])).executions()]
        sent, cached = (sum(getattr(one, field) or 0 for one in used) for field in ("input", "cache_read"))
        print(f"telemetry of {name}: {sent:,} input tokens, {cached:,} of them from the cache")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("PERFOPT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--prepare", action="store_true", help="make the environment from the package index first")
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument("--from", dest="origin", choices=("ours", "tau-bench"), default="ours")
    parser.add_argument("--only", default="", help="ways besides those they are compared with, with commas between")
    parser.add_argument("--part", choices=("time", "quality"), default="time")
    parser.add_argument("--questions", type=int, default=72, help="of the part quality")
    parser.add_argument("--window", type=int, default=4096, help="tokens")
    parser.add_argument("--data", type=Path, default=Path(default))
    options = parser.parse_args()
    if options.prepare:
        environment.prepare()
    why = environment.missing()
    if why:
        sys.exit(f"skipped: {why}")
    variants = chosen(options.only)
    talks = list(
        conversations.ours(options.conversations)
        if options.origin == "ours"
        else conversations.tau_bench(options.data, options.conversations, options.window * 3)
    )
    if not talks:
        sys.exit(f"skipped: nothing under {options.data} fits a window of {options.window} tokens")
    rows: Rows = defaultdict(dict)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        address = stack.enter_context(environment.served(options.window))
        if options.part == "quality":
            quality.measure(address, Path(temporary), options.questions)
            return
        with ExitStack() as running_agents:
            agents = {
                one.name: running_agents.enter_context(running(one, address, Path(temporary))) for one in variants
            }
            for number, talk in enumerate(talks):
                # Each conversation begins with another agent, so that none is always the first or the last.
                for variant in (*variants[number % len(variants) :], *variants[: number % len(variants)]):
                    rows[variant.name][talk["id"]] = agents[variant.name].talk({**talk, "habit": variant.habit})
                print(f"conversation {number + 1} of {len(talks)} done", file=sys.stderr, flush=True)
        print_figures(rows, variants)
        print_telemetry(agents)


if __name__ == "__main__":
    main()
