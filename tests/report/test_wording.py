"""How numbers read to people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.analyse.finding import Effect, Interval
from otel_perfopt.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.00042, "0.42 ms"),
        (0.0123, "12 ms"),
        (0.34, "340 ms"),
        (2.1, "2.1 s"),
        (200, "3 min 20 s"),
        (3000, "50 min"),
        (18720, "5.2 h"),
    ],
)
def test_durations_read_in_the_unit_people_use(value, text):
    """A duration is written in the unit that needs fewest digits."""
    assert wording.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0"), (812, "812"), (9999, "9,999"), (41_300, "41.3k"), (2.1e6, "2.1M")]
)
def test_counts_are_shortened_only_when_large(value, text):
    """Counts below ten thousand are exact."""
    assert wording.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0 %"), (0.0004, "0.04 %"), (0.032, "3.2 %"), (0.56, "56 %")]
)
def test_shares_keep_two_digits_that_matter(value, text):
    """Small shares keep their digits instead of reading as zero."""
    assert wording.share(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_no_number_breaks_a_report(value):
    """Every finite number can be written in every unit."""
    for write in (wording.seconds, wording.count, wording.share, wording.factor, wording.dollars):
        assert write(value)


def test_an_effect_without_enough_data_reads_as_a_dash():
    """What is not known is not written as zero."""
    assert wording.effect(Effect("latency", "s")) == "–"
    assert (
        wording.effect(Effect("latency", "s", relative=Interval(0.12, 0.08, 0.15))) == "12 % (8.0 to 15 %) of latency"
    )
