"""What is claimed of pairs of calls in real recordings holds in nine cases of ten, judged by reading them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from detectors_labels import RIGHT, judged


def test_claims_of_independence_and_repetition_are_precise(shared_data):
    """Of at least sixty labelled pairs that are claimed, at least 90 % are what they are claimed to be."""
    found = judged(shared_data)
    right = [label in RIGHT[claim] for claim, label in found]
    assert len(right) >= 60
    assert sum(right) >= 0.9 * len(right)
    assert all(label == "repeat" for claim, label in found if claim == "repeat")
