"""Every kind of finding has its word in one table, and typing errors are answered with the nearest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_perfopt import analyse
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS, has_passed, nearest_kind

SOURCES = Path(analyse.__file__).parent


def test_the_table_has_every_kind_that_detectors_use():
    """Each `kind="…"` of a finding in the room's sources is a word of the table."""
    used = {
        word
        for file in SOURCES.glob("*.py")
        for word in re.findall(r'(?:Finding|_finding)\(\s*(?:kind=)?"([a-z_]+)"', file.read_text())
    }
    assert len(used) > 10
    assert used - set(FINDING_KINDS) == set()


@pytest.mark.parametrize(
    ("word", "meant"),
    [("seasonal_peek", "seasonal_peak"), ("change-point", "change_point"), ("Hotspots", "hotspot"), ("xyz", None)],
)
def test_a_mistyped_kind_is_answered_with_the_nearest(word, meant):
    """What resembles nothing has no answer."""
    assert nearest_kind(word) == meant


def test_events_and_windows_pass_and_patterns_stay():
    """A peak and a shift are over at the end of their window, a hotspot never."""
    assert has_passed("seasonal_peak", (1, 5), 5)
    assert not has_passed("seasonal_peak", (1, 5), 4)
    assert has_passed("change_point", (1, 5), 6)
    assert not has_passed("change_point", (0, 0), 6)
    assert not has_passed("hotspot", (1, 5), 6)
