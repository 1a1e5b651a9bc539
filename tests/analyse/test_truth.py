"""Every detector finds what its generator planted, and says nothing in the same world without the fault."""

from __future__ import annotations

import numpy as np
import pytest
from planted import PlantedSource
from planted_truth import NEGATIVE, POSITIVE

from otel_perfopt.analyse.analyser import analyse


@pytest.mark.parametrize("make", POSITIVE, ids=lambda make: make.__name__)
def test_what_was_planted_is_found(make):
    """Each planted fault is found for its target, with an effect, its interval, and places to look."""
    planted = make(np.random.default_rng(7))
    findings = analyse(PlantedSource(planted.runs)).findings
    for kind, target in planted.truth:
        right = [
            finding
            for finding in findings
            if finding.kind == kind and all(getattr(finding.target, name) == value for name, value in target.items())
        ]
        assert right, (kind, [finding.label for finding in findings])
        relative = right[0].effect.relative
        assert relative is not None
        assert relative.low <= relative.estimate <= relative.high
        assert right[0].evidence
        assert right[0].summary.endswith(".")


@pytest.mark.parametrize("make", NEGATIVE)
def test_a_world_without_the_fault_is_left_alone(make):
    """The same load, memory, orders, models and regions without the fault: nothing is claimed."""
    planted = make(np.random.default_rng(8))
    findings = analyse(PlantedSource(planted.runs)).findings
    assert [finding.summary for finding in findings if finding.kind not in planted.follows] == []
