"""What routing between two models would have brought: the same recorded tasks solved, or not, by both.

    python benchmarks/routing_replay.py [--data ../shared/data]

A rule chooses a model for each kind of task from one half of the tasks and is judged on the other half,
500 times over. A weaker model is chosen only where it is shown to fail at most five points more often. Printed are
the share solved, the tokens that models wrote (their thinking) for each task solved, and the list price of each task
solved, beside either model alone and beside the oracle that knows which model will do.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SMALL, LARGE = "gpt-3.5-turbo-0613", "gpt-4-0613"
# List prices of their time, USD a million tokens in and out.
PRICES = {SMALL: (1.5, 2.0), LARGE: (30.0, 60.0)}
SPLITS = 500
MARGIN = 0.05


@dataclass(frozen=True)
class Attempt:
    """How one model did at one task."""

    solved: bool
    written: int
    usd: float


Tasks = dict[tuple[str, int], dict[str, Attempt]]


def read(archive: Path) -> Tasks:
    tasks: Tasks = defaultdict(dict)
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            model, _, name = member.name.strip("./").partition("/")
            file = packed.extractfile(member) if model in PRICES else None
            for line in file or ():
                record = json.loads(line)
                state, task = (_plain(record[key]) for key in ("state", "task"))
                used = state["token_counter"]
                into, out = PRICES[model]
                usd = (used.get("prompt_tokens", 0) * into + used.get("completion_tokens", 0) * out) / 1e6
                kind = name.split("__")[1]
                tasks[kind, task["task_id"]][model] = Attempt(
                    bool(state["success"]), used.get("completion_tokens", 0), usd
                )
    return {key: both for key, both in tasks.items() if len(both) == 2}


def _plain(value: object) -> dict:
    return value if isinstance(value, dict) else json.loads(str(value))


def rule_of(tasks: Tasks, learnt_from: list[tuple[str, int]]) -> dict[str, str]:
    """Return a model for each kind of task: the small one only where it is shown to be about as good."""
    differences = defaultdict(list)
    for key in learnt_from:
        differences[key[0]].append(tasks[key][LARGE].solved - tasks[key][SMALL].solved)
    chosen = {}
    for kind, worse in differences.items():
        values = np.array(worse, dtype=float)
        upper = values.mean() + 1.64 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 1.0
        chosen[kind] = SMALL if upper <= MARGIN else LARGE
    return chosen


def figures(attempts: list[Attempt]) -> tuple[float, float, float]:
    solved = sum(attempt.solved for attempt in attempts)
    written, usd = sum(attempt.written for attempt in attempts), sum(attempt.usd for attempt in attempts)
    return solved / len(attempts), written / max(1, solved), usd / max(1, solved)


def oracle(both: dict[str, Attempt]) -> Attempt:
    return both[SMALL] if both[SMALL].solved else both[LARGE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("PERFOPT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    options = parser.parse_args()
    tasks = read(options.data / "mint" / "gpt35_gpt4_a.tar.gz")
    keys, chance = sorted(tasks), np.random.default_rng(0)
    taken: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    to_small: dict[str, int] = defaultdict(int)
    for _ in range(SPLITS):
        order = [keys[index] for index in chance.permutation(len(keys))]
        learnt, judged = order[: len(order) // 2], order[len(order) // 2 :]
        rule = rule_of(tasks, learnt)
        for kind, model in rule.items():
            to_small[kind] += model == SMALL
        taken[f"always {SMALL}"].append(figures([tasks[key][SMALL] for key in judged]))
        taken[f"always {LARGE}"].append(figures([tasks[key][LARGE] for key in judged]))
        taken["routed by kind of task"].append(figures([tasks[key][rule.get(key[0], LARGE)] for key in judged]))
        taken["oracle"].append(figures([oracle(tasks[key]) for key in judged]))
    print(f"{len(keys)} tasks; medians over {SPLITS} halves, 2.5 to 97.5 %")
    for name, rows in taken.items():
        low, middle, high = np.quantile(np.array(rows), [0.025, 0.5, 0.975], axis=0)
        cells = [f"{middle[0]:.0%} solved ({low[0]:.0%} to {high[0]:.0%})"]
        cells.append(f"{middle[1]:.0f} tokens written for each ({low[1]:.0f} to {high[1]:.0f})")
        cells.append(f"${middle[2]:.3f} for each")
        print(f"{name:28} {', '.join(cells)}")
    shares = ", ".join(f"{kind} {count / SPLITS:.0%}" for kind, count in sorted(to_small.items()))
    print(f"how often the small model was shown to be about as good: {shares}")
    gains = [
        1 - large[1] / small[1] for small, large in zip(taken[f"always {SMALL}"], taken[f"always {LARGE}"], strict=True)
    ]
    low, middle, high = np.quantile(gains, [0.025, 0.5, 0.975])
    print(f"thinking for each task solved, {LARGE} beside {SMALL}: {-middle:+.0%} ({-high:+.0%} to {-low:+.0%})")


if __name__ == "__main__":
    main()
