"""Precision of what is claimed of pairs of calls, on pairs of real recordings that were judged by reading them.

    python benchmarks/detectors_labels.py [FOLDER]

The labels (tests/labels/) were given to pairs drawn at random from the claims; nothing was changed for the sake
of those in fresh_pairs.json, whose recordings have no pair in pairs.json. Counted are
those that are still claimed; a pair is wrongly *independent* when the second call uses a value of the
first's result. "Asked at once" also leaves out pairs where the result was the reason for the second.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.signal.read.recorded import open_recorded

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = Path(os.environ.get("PERFOPT_DATA", ROOT.parent / "shared" / "data"))
LABELS = ROOT / "tests" / "labels" / "pairs.json"
# Of other recordings, judged after everything that is measured here was written.
FRESH = ROOT / "tests" / "labels" / "fresh_pairs.json"
RIGHT = {"independent": {"independent", "prompted"}, "repeat": {"repeat"}}


def claims(folder: Path) -> set[tuple[str, str, str, str]]:
    """Return (claim, trace, first span, second span) of every pair that is claimed to be independent, or a repeat."""
    found: set[tuple[str, str, str, str]] = set()
    repetitions = Repetitions()
    for execution in RecordedExecutions(open_recorded([folder])).executions():
        trace = execution.trace_id
        pairs = [pair for pair in RunView(execution).adjacent_reads if pair.independent]
        found |= {("independent", trace, pair.first.span_id, pair.second.span_id) for pair in pairs}
        repeats = repetitions.observe(execution).repeats
        # An earlier call may be of another run of the conversation: the trace is its own.
        found |= {
            ("repeat", repeat.earlier.trace_id, repeat.earlier.span_id, repeat.step.span_id) for repeat in repeats
        }
    return found


def judged(data: Path, labels: Path = LABELS) -> list[tuple[str, str]]:
    """Return (claim, label) of every labelled pair that is still claimed."""
    pairs = json.loads(labels.read_text())["pairs"]
    made = {name: claims(data / name) for name in sorted({pair["data"] for pair in pairs})}
    return [
        (pair["claim"], pair["label"])
        for pair in pairs
        if (pair["claim"], pair["trace"], pair["first"], pair["second"]) in made[pair["data"]]
    ]


def main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    for name, labels in (("pairs.json", LABELS), ("fresh_pairs.json", FRESH)):
        print(name)
        tell(judged(data, labels))


def tell(found: list[tuple[str, str]]) -> None:
    rows = {
        "independent: no value used": [
            label in RIGHT["independent"] for claim, label in found if claim == "independent"
        ],
        "independent: could be asked at once": [
            label == "independent" for claim, label in found if claim == "independent"
        ],
        "repeat": [label == "repeat" for claim, label in found if claim == "repeat"],
        "all claims": [label in RIGHT[claim] for claim, label in found],
    }
    for name, right in rows.items():
        share = wilson(sum(right), len(right))
        if share is not None:
            print(
                f"{name:36} {sum(right):3} of {len(right):3}  {share.estimate:.2f} ({share.low:.2f} to {share.high:.2f})"
            )


if __name__ == "__main__":
    main()
