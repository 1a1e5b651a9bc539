"""Answers with the whole context, a selected one and the needed section alone: a server in, paired scores printed."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from local_model_parts.agents import Variant, running
from local_model_parts.questions import questions, services

from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.signal.read.recorded import open_recorded

DRAWS = 4000
GOALS = {"relevance": 0.20, "accuracy": 0.15, "completeness": 0.25}
WAYS = (
    (Variant("whole context"), "whole"),
    (Variant("selective_context", optimization="selective_context"), "whole"),
    (Variant("needed section alone"), "oracle"),
)
Scores = dict[str, list[dict]]


def measure(address: str, folder: Path, count: int) -> None:
    """Ask every question each way, one way after the other so that the server's one slot keeps what is common."""
    asked = questions(services())[:count]
    rows: Scores = defaultdict(list)
    with ExitStack() as stack:
        agents = {way.name: stack.enter_context(running(way, address, folder, "answer.py", how)) for way, how in WAYS}
        for name, agent in agents.items():
            rows[name].extend(agent.ask(str(question.number)) for question in asked)
            print(f"{name} done", file=sys.stderr, flush=True)
    print_scores(rows)
    for name, agent in agents.items():
        print(f"  evaluation events of {name}: {seen(agent.home)}")


def print_scores(rows: Scores) -> None:
    base = rows[WAYS[0][0].name]
    print(f"\n{len(base)} questions, each asked every way; temperature 0; 95 % bootstrap intervals over questions")
    for name, found in rows.items():
        cells = [f"{np.mean([row['prompt'] for row in found]):,.0f} tokens"]
        for measure_name, goal in GOALS.items():
            cells.append(f"{measure_name} {change(base, found, measure_name, goal, is_base=found is base)}")
        print(f"  {name:22}" + "".join(f"{cell:52}" for cell in cells))
    for facts in (1, 3):
        means = {
            name: np.mean([row["accuracy"] for row in found if row["facts"] == facts]) for name, found in rows.items()
        }
        print(
            f"  accuracy of {facts}-fact questions: " + ", ".join(f"{name} {mean:.0%}" for name, mean in means.items())
        )
    print("  the bound is the needed section alone: what the model can do with nothing to mislead it")


def change(base: Sequence[dict], other: Sequence[dict], name: str, goal: float, *, is_base: bool) -> str:
    """Return the mean score and its relative change beside the whole context's, question by question."""
    was, now = (np.array([row[name] for row in rows], dtype=float) for rows in (base, other))
    if is_base:
        return f"{was.mean():.0%}"
    drawn = np.random.default_rng(0).integers(0, len(was), (DRAWS, len(was)))
    before, after = was[drawn].mean(axis=1), now[drawn].mean(axis=1)
    if not was.any() or (before == 0).mean() > 0.05:
        return f"{now.mean():.0%} (from {was.mean():.0%}: the base is at the floor, no share of it)"
    low, high = np.quantile(after[before > 0] / before[before > 0] - 1, [0.025, 0.975])
    told = "reached" if low >= goal else "not shown"
    return f"{now.mean():.0%} {now.mean() / was.mean() - 1:+.0%} [{low:+.0%}, {high:+.0%}] goal {goal:+.0%} {told}"


def seen(home: Path) -> str:
    """Return the mean of each score as the goals read it: from the evaluation events in the telemetry."""
    scores: dict[str, list[float]] = defaultdict(list)
    for run in RecordedExecutions(open_recorded([home / "telemetry"])).executions():
        for judged in run.evaluations:
            if judged.score is not None:
                scores[judged.name].append(judged.score)
    return ", ".join(f"{name} {np.mean(values):.0%} of {len(values)}" for name, values in sorted(scores.items()))
