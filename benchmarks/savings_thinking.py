"""Thinking for each task solved, under a budget of turns: recorded reasoning with known outcomes, cut where the budget ends.

    python benchmarks/savings_thinking.py [--data ../shared/data]

Both recorded models think aloud in up to five turns, and whether a task was solved is known. A budget of k turns leaves
everything before its end as it was, so what it would have cost and solved can be read off: no guess is needed.
A budget is chosen for each kind of task on one half of the tasks, the smallest that is shown there to lose at most five points of success,
and judged on the other half, 500 times over. Printed are the share solved, the tokens written for each task solved, and
the change of tasks solved for each token beside no budget; and the bound: whoever knows beforehand which tasks
will not be solved does not begin them. Beside that stands the other model, which is another way to think to more effect. What effort inside a turn would do (`effort_routing` lowers it) cannot be read off:
nobody recorded the same tasks at several efforts.
"""

from __future__ import annotations

import argparse
import json
import os
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODELS = ("gpt-3.5-turbo-0613", "gpt-4-0613")
BUDGETS = (1, 2, 3, 4, 5)
NO_BUDGET = max(BUDGETS)
SPLITS = 500
MARGIN = 0.05
GOAL = 0.25


@dataclass(frozen=True)
class Attempt:
    """One task's reasoning: its kind, the tokens written in each turn, and whether the last one solved it."""

    kind: str
    turns: tuple[float, ...]
    solved: bool

    def under(self, budget: int) -> tuple[bool, float]:
        """Return whether it is solved within so many turns, and the tokens written until then."""
        return self.solved and len(self.turns) <= budget, sum(self.turns[:budget])


def read(archive: Path, model: str) -> list[Attempt]:
    found = []
    with tarfile.open(archive) as packed:
        for member in sorted(packed.getmembers(), key=lambda one: one.name):
            file = packed.extractfile(member) if member.name.strip("./").startswith(model) else None
            for line in file or ():
                state = json.loads(line)["state"]
                state = state if isinstance(state, dict) else json.loads(state)
                said = [len(turn["content"]) for turn in state["history"] if turn["role"] == "assistant"]
                if said and sum(said):
                    # The recording counts a task's tokens; turns share them by their length.
                    scale = state["token_counter"].get("completion_tokens", 0) / sum(said)
                    turns = tuple(chars * scale for chars in said)
                    found.append(Attempt(member.name.split("__")[1], turns, bool(state["success"])))
    return found


def rule_of(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Return a budget for each kind of task: the smallest that is shown to lose at most five points."""
    by_kind = defaultdict(list)
    for attempt in attempts:
        by_kind[attempt.kind].append(attempt)
    rule = {}
    for kind, found in by_kind.items():
        fits = [budget for budget in BUDGETS if upper_loss(found, budget) <= MARGIN]
        rule[kind] = min(fits, default=NO_BUDGET)
    return rule


def upper_loss(attempts: Sequence[Attempt], budget: int) -> float:
    lost = np.array([attempt.solved and not attempt.under(budget)[0] for attempt in attempts], dtype=float)
    if len(lost) < 2:
        return 1.0
    return float(lost.mean() + 1.64 * max(lost.std(ddof=1), 1 / len(lost)) / len(lost) ** 0.5)


def figures(attempts: Sequence[Attempt], rule: dict[str, int]) -> tuple[float, float]:
    """Return the share solved and the tokens written for each task solved."""
    outcomes = [attempt.under(rule.get(attempt.kind, NO_BUDGET)) for attempt in attempts]
    solved = sum(done for done, _ in outcomes)
    return solved / len(outcomes), sum(tokens for _, tokens in outcomes) / max(1, solved)


def print_model(model: str, attempts: list[Attempt]) -> None:
    chance = np.random.default_rng(0)
    rows, budgets = [], defaultdict(list)
    for _ in range(SPLITS):
        order = [attempts[index] for index in chance.permutation(len(attempts))]
        learnt, judged = order[: len(order) // 2], order[len(order) // 2 :]
        rule = rule_of(learnt)
        for kind, budget in rule.items():
            budgets[kind].append(budget)
        plain, cut = figures(judged, {}), figures(judged, rule)
        known = figures([one for one in judged if one.solved], {})
        rows.append((*plain, *cut, plain[1] / cut[1] - 1, cut[0] - plain[0], plain[1] / known[1] - 1))
    low, middle, high = np.quantile(np.array(rows), [0.025, 0.5, 0.975], axis=0)
    print(f"{model}: {len(attempts)} tasks; medians over {SPLITS} halves, 2.5 to 97.5 %")
    print(f"  no budget       {middle[0]:.0%} solved, {middle[1]:.0f} tokens for each")
    print(f"  budget by kind  {middle[2]:.0%} solved, {middle[3]:.0f} tokens for each")
    told = "reached" if low[4] >= GOAL else "not shown" if high[4] >= GOAL else "missed"
    print(f"  solved for each token {middle[4]:+.0%} [{low[4]:+.0%}, {high[4]:+.0%}]; goal +25 %: {told}")
    print(f"  success {100 * middle[5]:+.1f} points [{100 * low[5]:+.1f}, {100 * high[5]:+.1f}]")
    print(f"  bound {middle[6]:+.0%} [{low[6]:+.0%}, {high[6]:+.0%}]: no token for a task that will not be solved")
    print("  budgets chosen: " + ", ".join(f"{kind} {np.median(found):.0f}" for kind, found in sorted(budgets.items())))


def print_routed(small: list[Attempt], large: list[Attempt]) -> None:
    """Print what asking the other model does (`model_routing`): it writes less for each task it solves, at its own price."""
    chance = np.random.default_rng(0)
    drawn = []
    for _ in range(SPLITS):
        one, other = (
            [found[index] for index in chance.integers(0, len(found), len(found))] for found in (small, large)
        )
        drawn.append(figures(one, {})[1] / figures(other, {})[1] - 1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    change = figures(small, {})[1] / figures(large, {})[1] - 1
    told = "reached" if low >= GOAL else "not shown"
    print(
        f"{MODELS[1]} in the place of {MODELS[0]}: solved for each token {change:+.0%} [{low:+.0%}, {high:+.0%}]; goal +25 %: {told}"
    )
    print("  at some nine times the list price for each task solved (routing_replay.py)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("PERFOPT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    archive = parser.parse_args().data / "mint" / "gpt35_gpt4_a.tar.gz"
    if not archive.exists():
        print(f"skipped: no recorded data at {archive}")
        return
    attempts = {model: read(archive, model) for model in MODELS}
    for model, found in attempts.items():
        print_model(model, found)
    print_routed(*attempts.values())


if __name__ == "__main__":
    main()
