"""Slow runs that nothing explains: runs in, what those share that take far longer than their command's typical out."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import median

import numpy as np

from otel_perfopt.analyse.enrichment import enrichment
from otel_perfopt.analyse.finding import Effect, Evidence, Finding, Interval
from otel_perfopt.analyse.group_difference import MIN_UNITS
from otel_perfopt.analyse.run_row import RunRow, RunRows, run_row
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.units import ratio_interval
from otel_perfopt.analyse.wording import counted, percent, percent_range, seconds
from otel_perfopt.execution.model import Execution, Target

FACTOR = 2.0
DEVIATIONS = 3.0
MIN_SLOW = 5
MIN_RUNS = 30
MIN_LIFT = 2.0
MAX_TRAITS = 300
MAX_FINDINGS = 3
MAX_COMMANDS = 20
# The chance that a report over runs where nothing is shared claims that something is.
ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class _Cluster:
    command: str
    trait: str
    chance: float
    slow: list[RunRow]
    having: list[RunRow]
    all_slow: int
    typical_s: float


class SlowCluster:
    """Finds a trait (model, user, hour, tool, release, any attribute of the command) that slow runs share.

    Slow is more than twice the command's median and three robust deviations (on the logarithm)
    above it, once waits for people, failed calls and repeats are taken out. A conversation counts
    once; every trait looked at shares one error of 1 % (Bonferroni, Fisher's exact test).
    """

    name = "slow_cluster"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._rows = RunRows()

    def observe(self, execution: Execution) -> None:
        """Take one run into account; without a clock none is slow."""
        if execution.timed:
            row = RunView.of(execution).derive(run_row)
            if row.plain_s is not None:
                self._rows.add(row)

    def findings(self) -> list[Finding]:
        """Return at most one finding a command and three in all: the trait that is least by chance."""
        commands = sorted(self._rows.by_command().items(), key=lambda item: (-len(item[1]), item[0]))[:MAX_COMMANDS]
        asked = [(command, *_clusters(command, rows)) for command, rows in commands]
        tests = sum(tried for _, _, tried in asked)
        best = [min(found, key=lambda item: (item.chance, -len(item.having))) for _, found, _ in asked if found]
        sure = sorted((item for item in best if item.chance * tests < ALPHA), key=lambda item: item.chance)
        return [self._finding(cluster) for cluster in sure[:MAX_FINDINGS]]

    def _finding(self, cluster: _Cluster) -> Finding:
        share = self._excess(cluster)
        slow = sorted(cluster.slow, key=lambda row: -(row.plain_s or 0.0))
        return Finding(
            kind="slow_cluster",
            target=Target(command=cluster.command),
            summary=(
                f"{counted(len(slow), 'run')} of {cluster.command or 'the agent'} took over {FACTOR:.0f} times its typical "
                f"{seconds(cluster.typical_s)} for no reason that other findings give, and share: {cluster.trait} "
                f"({percent(len(slow) / len(cluster.having))} of its runs are slow, {percent(len(slow) / cluster.all_slow)} "
                f"of all slow runs are its); what they took beyond the typical is {percent_range(share)} of its time."
            ),
            detector=self.name,
            effect=Effect("latency", "s", share),
            occurrences=len(slow),
            runs=len(cluster.having),
            evidence=tuple(
                Evidence(row.trace_id, row.span_id, row.location, f"{seconds(row.plain_s or 0.0)}, {cluster.trait}")
                for row in slow[:5]
            ),
        )

    def _excess(self, cluster: _Cluster) -> Interval:
        """Return which share of the time of runs with the trait is beyond the typical."""
        parts: defaultdict[int, float] = defaultdict(float)
        wholes: defaultdict[int, float] = defaultdict(float)
        slow = {id(row) for row in cluster.slow}
        for row in cluster.having:
            spent = row.plain_s or 0.0
            wholes[row.conversation] += spent
            parts[row.conversation] += spent - cluster.typical_s if id(row) in slow else 0.0
        keys = sorted(wholes)
        numbers = (np.array([sums[key] for key in keys]) for sums in (parts, wholes))
        return ratio_interval(*numbers, seed=self._seed)


def _clusters(command: str, rows: list[RunRow]) -> tuple[list[_Cluster], int]:
    """Return the traits commoner among a command's slow runs, and how many were looked at."""
    slow_ids, typical = _slow(rows)
    if len(rows) < MIN_RUNS or len(slow_ids) < MIN_SLOW:
        return [], 0
    slow = [row for row in rows if id(row) in slow_ids]
    by_trait = Counter(trait for row in slow for trait in row.traits)
    everyone, all_slow = {row.conversation for row in rows}, {row.conversation for row in slow}
    found, tried = [], 0
    for trait, count in by_trait.most_common(MAX_TRAITS):
        having = [row for row in rows if trait in row.traits]
        if count < MIN_SLOW or len(having) == len(rows):
            continue
        tried += 1
        with_trait = {row.conversation for row in having}
        both = [row for row in having if id(row) in slow_ids]
        marked = {row.conversation for row in both}
        enough = len(marked) >= MIN_SLOW and len(with_trait) >= MIN_UNITS
        lift = len(marked) / len(with_trait) / (len(all_slow) / len(everyone))
        if enough and lift >= MIN_LIFT:
            chance = enrichment(len(marked), len(all_slow), len(with_trait), len(everyone))
            found.append(_Cluster(command, trait, chance, both, having, len(slow), typical))
    return found, tried


def _slow(rows: list[RunRow]) -> tuple[set[int], float]:
    logs = [math.log(row.plain_s or 1e-9) for row in rows]
    middle = median(logs)
    deviation = 1.4826 * median(abs(value - middle) for value in logs)
    limit = middle + max(math.log(FACTOR), DEVIATIONS * deviation)
    return {id(row) for row, value in zip(rows, logs, strict=True) if value > limit}, math.exp(middle)
