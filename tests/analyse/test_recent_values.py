"""What `RecentValues` promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.analyse.recent_values import RecentValues


@given(st.lists(st.floats(allow_nan=False)), st.integers(1, 8))
def test_it_holds_the_latest_in_order_of_size(values, limit):
    """After any values, what is held is the sorted list of the last ones, infinities and repeats included."""
    recent = RecentValues(limit)
    for number, value in enumerate(values, 1):
        recent.add(value)
        assert recent.sorted == sorted(values[max(0, number - limit) : number])
    assert RecentValues(limit, values).sorted == recent.sorted
