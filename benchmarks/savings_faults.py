"""What is left of an agent's work when its back ends fail: the example agent with and without policies, at the same time.

    python benchmarks/savings_faults.py [--conversations 24] [--rates 0.1,0.3,0.5] [--kinds 429,500,timeout,slow,tool]

The same conversations meet the same faults under every variant: on the way to the model a share of the requests is
answered with 429 (and when to come back), 500, a 504 after a second, or six seconds late; or a share of the calls
to the shop's service with 500. The client makes two tries of its own (its default), in every variant; the tools
make none, and `retry_hedge` makes their reads again, never what writes. Printed are, beside
the agent as it is, with 95 % bootstrap intervals over conversations: commands completed with a right answer, interruptions (an exception
or a wait of more than five seconds in the customer's face), errors that reached the agent's code, and commands done
in an hour of their customers' time. The bound is no fault at all.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from savings_parts.faulty_proxy import FAULTS, Dice, faulty, model_step, tool_step
from savings_parts.variants import PARAMETERS, Variant, decision, running_agent

from otel_perfopt.decide.decision import Match, Snapshot

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from support.launch import running_backends

DRAWS = 2000
WAIT_S = 5.0
NULL = decision("tool_cache", PARAMETERS["tool_cache"], policy="null", match=Match(tool=("no_such_tool",)))
# Half of the calls may be slow: a twin after the usual time, not after the longest twentieth.
PATIENCE = {"retries": 5, "hedge_after_s": 1.0, "hedge_quantile": 0.5, "tools": True}
RETRY = decision("retry_hedge", {**PARAMETERS["retry_hedge"], **PATIENCE})
LIMIT = decision("adaptive_concurrency", PARAMETERS["adaptive_concurrency"])
CACHE = decision("tool_cache", PARAMETERS["tool_cache"])
VARIANTS = (
    Variant("as it is"),
    Variant("null", (NULL,)),
    Variant("retry_hedge", (RETRY,)),
    Variant("all", (RETRY, LIMIT, CACHE)),
)


@dataclass(frozen=True)
class Sums:
    """One conversation's commands: how many, right ones, interrupted ones, errors in the agent, and seconds."""

    commands: int
    right: int
    interrupted: int
    errors: int
    seconds: float


Cell = dict[str, dict[str, Sums]]


def sums_of(file: Path) -> dict[str, Sums]:
    by_conversation: dict[str, list[dict]] = defaultdict(list)
    for line in file.read_text().splitlines():
        outcome = json.loads(line)
        by_conversation[outcome["conversation"]].append(outcome)
    return {name: _sums(outcomes) for name, outcomes in by_conversation.items()}


def _sums(outcomes: list[dict]) -> Sums:
    return Sums(
        len(outcomes),
        sum(one["ok"] for one in outcomes),
        sum(one["failed"] or one["seconds"] > WAIT_S for one in outcomes),
        sum(bool(one["why"]) and one["why"].startswith("error") for one in outcomes),
        sum(one["seconds"] for one in outcomes),
    )


def run_cell(kind: str, rate: float, first: int, conversations: int) -> tuple[Cell, dict[str, int]]:
    """Have the same conversations under every variant at once, each with back ends and faults of its own.

    Returns what became of them, and how many requests the failing back end was sent, tries again included.
    """
    fault = FAULTS[kind]
    name, step_of = ("SUPPORT_SHOP_URL", tool_step) if fault.on_tools else ("OPENAI_BASE_URL", model_step)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        homes, dice, processes = {}, {}, []
        for variant in VARIANTS:
            home = homes[variant.name] = Path(temporary) / variant.name.replace(" ", "-")
            home.mkdir()
            snapshot = Snapshot(1, time.time_ns(), 3600.0, decisions=variant.decisions)
            (home / "snapshot.json").write_text(snapshot.to_json())
            backend = dict(stack.enter_context(running_backends(home / "backends", back_office=False)))
            dice[variant.name] = Dice(rate)
            backend[name] = stack.enter_context(faulty(backend[name], fault, dice[variant.name], step_of))
            processes.append(running_agent(home, backend, first, conversations, at_once=8))
        for process in processes:
            if process.wait() not in (0, 1):
                raise RuntimeError(f"an agent ended with {process.returncode}")
        asked = {variant: sum(one.asked.values()) for variant, one in dice.items()}
        return {variant: sums_of(home / "outcomes.jsonl") for variant, home in homes.items()}, asked


MEASURES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    # Columns: commands, right, interrupted, errors, seconds. The goal beside each.
    "completed": (lambda sums: sums[..., 1] / sums[..., 0], 0.30),
    "interruptions": (lambda sums: sums[..., 2] / sums[..., 0], -0.40),
    "errors": (lambda sums: sums[..., 3] / sums[..., 0], -0.50),
    "done an hour": (lambda sums: 3600 * sums[..., 1] / sums[..., 4], 0.25),
}


def table(cells: Sequence[Cell], variant: str) -> np.ndarray:
    """Return one row a conversation, in the same order for every variant."""
    rows = [
        (one.commands, one.right, one.interrupted, one.errors, one.seconds)
        for cell in cells
        for _, one in sorted(cell[variant].items())
    ]
    return np.array(rows, dtype=float)


def changes(cells: Sequence[Cell], variant: str) -> dict[str, str]:
    base, other = table(cells, VARIANTS[0].name), table(cells, variant)
    drawn = np.random.default_rng(0).integers(0, len(base), (DRAWS, len(base)))
    told = {}
    for name, (measure, goal) in MEASURES.items():
        was, now = float(measure(base.sum(axis=0))), float(measure(other.sum(axis=0)))
        before, after = measure(base[drawn].sum(axis=1)), measure(other[drawn].sum(axis=1))
        some = before > 0
        if not was or some.mean() < 0.95:
            told[name] = f"{was:.3g} → {now:.3g} (too few)"
            continue
        low, high = np.quantile(after[some] / before[some] - 1, [0.025, 0.975])
        reached = low >= goal if goal > 0 else high <= goal
        told[name] = f"{was:.3g} → {now:.3g} {now / was - 1:+.0%} [{low:+.0%}, {high:+.0%}]{' ✓' if reached else ''}"
    return told


def print_rows(title: str, cells: Sequence[Cell], asked: Sequence[dict[str, int]]) -> None:
    base = table(cells, VARIANTS[0].name).sum(axis=0)
    bound = base[0] / base[1] - 1 if base[1] else float("inf")
    print(
        f"{title}: {base[0]:.0f} commands of {len(table(cells, VARIANTS[0].name))} conversations; bound of completed {bound:+.0%}"
    )
    for variant in VARIANTS[1:]:
        told = changes(cells, variant.name)
        more = sum(one[variant.name] for one in asked) / sum(one[VARIANTS[0].name] for one in asked) - 1
        cells_told = "".join(f"{name}: {text:36}" for name, text in told.items())
        print(f"  {variant.name:12}{cells_told}requests: {more:+.0%}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=24, help="for each kind and rate")
    parser.add_argument("--rates", default="0.1,0.3,0.5")
    parser.add_argument("--kinds", default=",".join(FAULTS))
    options = parser.parse_args()
    print(
        "goals: completed +30 %, interruptions −40 %, errors −50 %, done an hour +25 %; ✓ where the interval is beyond"
    )
    rates, kinds = [float(rate) for rate in options.rates.split(",")], options.kinds.split(",")
    cells: dict[tuple[str, float], Cell] = {}
    asked: dict[tuple[str, float], dict[str, int]] = {}
    for place, (rate, kind) in enumerate((rate, kind) for rate in rates for kind in kinds):
        cells[kind, rate], asked[kind, rate] = run_cell(
            kind, rate, place * options.conversations, options.conversations
        )
        print_rows(f"{kind} at {rate:.0%}", [cells[kind, rate]], [asked[kind, rate]])
    groups = {f"all kinds at {rate:.0%}": [key for key in cells if key[1] == rate] for rate in rates}
    groups["faults of the model"] = [key for key in cells if not FAULTS[key[0]].on_tools]
    for title, keys in groups.items():
        if len(keys) > 1:
            print_rows(title, [cells[key] for key in keys], [asked[key] for key in keys])


if __name__ == "__main__":
    main()
