"""What the variants did: homes with outcomes and telemetry in, medians beside the baseline with intervals out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.signal.read.recorded import open_recorded

DRAWS = 2000
# The example's model has no list price; these are what a small hosted model costs a million tokens, cached and not.
USD_INPUT, USD_CACHED, USD_OUTPUT = 0.25, 0.025, 2.0


@dataclass
class Conversation:
    """Sums over one conversation: seconds as its customer saw them, seconds its tools took, tokens by kind."""

    seconds: float = 0.0
    tool_seconds: float = 0.0
    tokens: int = 0
    usd: float = 0.0


@dataclass
class Figures:
    """Everything read so far, by variant and conversation."""

    conversations: dict[str, dict[str, Conversation]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Conversation))
    )
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    right: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    bounds: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def read(self, variant: str, home: Path) -> None:
        """Take in what one run of a variant left in its home."""
        found = self.conversations[variant]
        for line in (home / "outcomes.jsonl").read_text().splitlines():
            outcome = json.loads(line)
            found[outcome["conversation"]].seconds += outcome["seconds"]
            self.right[variant].append(outcome["ok"])
            self.failed[variant] += outcome["failed"]
        for run in RecordedExecutions(open_recorded([home / "telemetry"])).executions():
            of, used = found[run.conversation_id], run.tokens
            of.tool_seconds += sum(step.duration_s for step in run.of_kind(StepKind.TOOL))
            of.tokens += used.total or 0
            cached = used.cache_read or 0
            fresh = (used.input or 0) - cached
            of.usd += (fresh * USD_INPUT + cached * USD_CACHED + (used.output or 0) * USD_OUTPUT) / 1e6
        if variant == "baseline":
            self._read_bounds(home)

    def _read_bounds(self, home: Path) -> None:
        analysis = analyse(RecordedExecutions(open_recorded([home / "telemetry"])))
        sums: dict[str, float] = defaultdict(float)
        for item in analysis.opportunities:
            if item.share is not None and item.metric == "latency":
                sums[item.optimization] += item.share.estimate
        for optimization, share in sums.items():
            self.bounds[optimization].append((share, 1.0))

    def change(self, variant: str, measure: Callable[[Conversation], float]) -> tuple[float, float, float] | None:
        """Return the median relative change over conversations, with its 95 % bootstrap interval."""
        base, other = self.conversations["baseline"], self.conversations[variant]
        names = [name for name in base if name in other and measure(base[name]) > 0]
        if len(names) < 5:
            return None
        ratios = np.array([measure(other[name]) / measure(base[name]) - 1 for name in names])
        draws = np.random.default_rng(0).integers(0, len(ratios), (DRAWS, len(ratios)))
        low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
        return float(np.median(ratios)), float(low), float(high)


MEASURES: dict[str, Callable[[Conversation], float]] = {
    "time": lambda of: of.seconds,
    "tool time": lambda of: of.tool_seconds,
    "tokens": lambda of: of.tokens,
    "cost": lambda of: of.usd,
}


def print_table(figures: Figures, variants: Sequence[str]) -> None:
    """Print one row a variant."""
    print(
        f"{len(figures.conversations['baseline'])} conversations; median change beside the baseline's same conversation"
    )
    heads = "".join(f"{name:>24}" for name in MEASURES)
    print(f"{'variant':22}{heads}{'right':>10}{'failed':>8}{'an hour':>9}{'predicted':>11}")
    for variant in variants:
        cells = "".join(f"{_shown(figures.change(variant, measure)):>24}" for measure in MEASURES.values())
        right = figures.right[variant]
        told = figures.bounds.get(variant)
        predicted = f"{-np.mean([share for share, _ in told]):.1%}" if told else "–"
        hours = sum(of.seconds for of in figures.conversations[variant].values()) / 3600
        done = f"{sum(right) / hours:.0f}" if hours else "–"
        counts = f"{sum(right):>5}/{len(right):<4}{figures.failed[variant]:>8}{done:>9}"
        print(f"{variant:22}{cells}{counts}{predicted:>11}")


def _shown(change: tuple[float, float, float] | None) -> str:
    if change is None:
        return "too few"
    middle, low, high = (100 * value for value in change)
    return f"{middle:+.1f}% [{low:+.1f}, {high:+.1f}]"
