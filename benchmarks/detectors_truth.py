"""Precision and recall of every detector on planted truth, and false findings where nothing is planted.

    python benchmarks/detectors_truth.py [--seeds N]

Each world is generated N times. A finding of a wanted kind for the planted target is right; of a kind
that was not planted and does not follow from what was, wrong. Clean worlds hold no fault at all.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "analyse"))

from planted import PlantedSource
from planted_truth import NEGATIVE, POSITIVE, Planted

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.wilson import wilson


def is_wanted(finding: Finding, planted: Planted) -> bool:
    return any(
        finding.kind == kind and all(getattr(finding.target, field) == value for field, value in target.items())
        for kind, target in planted.truth
    )


def judged(planted: Planted) -> tuple[set[str], list[Finding]]:
    """Return the kinds that were wanted and not found, and the findings that are wrong."""
    findings = analyse(PlantedSource(planted.runs)).findings
    right = [finding for finding in findings if is_wanted(finding, planted)]
    missed = {kind for kind, _ in planted.truth} - {finding.kind for finding in right}
    wanted = {kind for kind, _ in planted.truth} | planted.follows
    wrong = [finding for finding in findings if finding not in right and finding.kind not in wanted]
    return missed, wrong


def interval(hits: int, trials: int) -> str:
    share = wilson(hits, trials)
    return "     –" if share is None else f"{share.estimate:6.2f} ({share.low:.2f} to {share.high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    begin = time.perf_counter()
    found, asked, wrong = Counter[str](), Counter[str](), Counter[str]()
    for make in POSITIVE:
        for seed in range(seeds):
            planted = make(np.random.default_rng(seed))
            missed, false = judged(planted)
            for kind, _ in planted.truth:
                asked[kind] += 1
                found[kind] += kind not in missed
            wrong.update(finding.kind for finding in false)
            if missed or false:
                print(f"  {planted.name} {seed}: missed {sorted(missed)}, wrong {[f.label for f in false]}")
    alarms = reports = 0
    for make in NEGATIVE:
        world_alarms = Counter[str]()
        for seed in range(seeds):
            planted = make(np.random.default_rng(1000 + seed))
            _, false = judged(planted)
            reports += 1
            alarms += bool(false)
            world_alarms.update(finding.kind for finding in false)
        wrong.update(world_alarms)
        print(f"  nothing planted, {planted.name}: {dict(world_alarms) or 'nothing said'}")
    print(f"{'finding':22} {'recall':>22} {'precision':>24}")
    for kind in sorted(asked):
        print(f"{kind:22} {interval(found[kind], asked[kind])} {interval(found[kind], found[kind] + wrong[kind])}")
    others = {kind: count for kind, count in wrong.items() if kind not in asked}
    print(f"wrong findings of other kinds: {others or 'none'}")
    print(
        f"reports over worlds without a fault that claim something: {alarms} of {reports}, {interval(alarms, reports)}"
    )
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
