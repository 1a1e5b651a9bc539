"""Regular series out of runs, and gaps filled."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from written_runs import inference, run

from otel_perfopt.execution.model import Outcome, Target, TokenUsage
from otel_perfopt.measure import series as module
from otel_perfopt.measure.measurement import Series
from otel_perfopt.measure.series import SeriesBuilder, fill_gaps

HOUR = 3600 * 10**9
MONDAY = 1_767_571_200 * 10**9  # 2026-01-05T00:00Z


def at(start_ns, seconds=1, tokens=10, name="/do", **fields):
    call = inference("m", start_ns, start_ns + 1, tokens=TokenUsage(tokens, 0))
    made = run(start_ns, start_ns + seconds * 10**9, call, **fields)
    target = Target(service="shop", command=name, agent="any")
    return replace(made, command=replace(made.command, target=target))


def built(*runs, step_s=3600.0):
    builder = SeriesBuilder(step_s)
    for execution in runs:
        builder.add(execution)
    return builder


def test_runs_are_sorted_into_bins():
    """Counts and tokens are 0 in a bin without runs, latencies a gap."""
    builder = built(at(MONDAY, 2), at(MONDAY + 1, 4, 30), at(MONDAY + 3 * HOUR - 1, 8, outcome=Outcome.FAILED))
    target = Target(service="shop", command="/do")
    values = {name: builder.series(name, target).values for name in ("count", "tokens", "errors", "latency.mean")}
    assert values == {
        "count": (2, 0, 1), "tokens": (40, 0, 10), "errors": (0, 0, 1), "latency.mean": (3, None, 8),
    }  # fmt: skip
    assert builder.series("latency.p95", target).values[2] == pytest.approx(8, rel=0.01)
    assert builder.series("count").start_ns == MONDAY
    others = {"latency.p95", "tokens.per_run", "errors.share", "concurrency"}
    assert {found.metric for found in builder.all()} == set(values) | others


def test_shares_of_runs_are_a_gap_without_runs():
    """Tokens and errors per run need a run; an hour of nothing says nothing of them."""
    builder = built(at(MONDAY, tokens=10), at(MONDAY, tokens=20, outcome=Outcome.FAILED), at(MONDAY + 2 * HOUR))
    assert builder.series("tokens.per_run").values == (15, None, 10)
    assert builder.series("errors.share").values == (0.5, None, 0)


def test_concurrency_counts_a_run_in_every_hour_it_lasts():
    """A run of ninety minutes from half past fills half of its first hour and the whole second; two fill both twice."""
    half = MONDAY + HOUR // 2
    builder = built(at(half, 5400), at(half, 5400), at(MONDAY + 2 * HOUR, 36))
    assert builder.series("concurrency").values == (1.0, 2.0, 0.01)


def test_everything_is_the_sum_of_commands():
    """The target of everything counts each run once."""
    builder = built(at(MONDAY, name="/a"), at(MONDAY, name="/b"), at(MONDAY + HOUR, name="/a"))
    assert builder.series("count").values == (2, 1)
    assert builder.series("count", Target(service="shop", command="/a")).values == (1, 1)
    assert builder.series("count", Target(command="/none")) is None


def test_runs_without_a_clock_are_no_history():
    """Made-up times make no series."""
    assert built(replace(at(MONDAY), timed=False), at(0)).series("count") is None


def test_commands_are_bounded(monkeypatch):
    """Beyond the limit, new commands share one series."""
    monkeypatch.setattr(module, "MAX_COMMANDS", 3)
    builder = built(*(at(MONDAY, name=f"/{i}") for i in range(10)))
    assert len(builder.targets()) == 1 + 3 + 1
    assert sum(builder.series("count", t).values[0] for t in builder.targets() if t != Target()) == 10


def test_a_clock_set_wrong_neither_fills_memory_nor_hides_the_rest():
    """The stretch with the most runs is kept."""
    runs = [at(MONDAY + i * HOUR) for i in range(5)]
    assert built(at(HOUR), *runs, at(MONDAY + 10**6 * HOUR)).series("count").values == (1, 1, 1, 1, 1)


def weeks(*, missing=(), count=4, value=lambda hour: 100 + 50 * math.sin(hour * math.tau / 24) + hour // 24 % 7):
    values = [value(hour) for hour in range(count * 168)]
    for hour in missing:
        values[hour] = None
    return Series("x", Target(), MONDAY, 3600.0, tuple(values))


def test_scattered_gaps_lie_on_the_line_between():
    """One to three bins in a row are interpolated."""
    found = fill_gaps(Series("x", Target(), MONDAY, 3600.0, (1.0, None, 3.0, None, None, None, 7.0)))
    assert found.values == (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert found.filled == (False, True, False, True, True, True, False)


def test_a_block_takes_the_usual_value_of_its_hour_of_the_week():
    """A lost day comes back exactly where the weeks are alike."""
    lost = range(168 + 24, 168 + 48)
    found = fill_gaps(weeks(missing=lost))
    assert found.values == pytest.approx(weeks().values)
    assert sum(found.filled) == 24


def test_a_gap_at_an_end_is_a_block():
    """There is no line to a side that has no end."""
    assert fill_gaps(weeks(missing=[0])).values == pytest.approx(weeks().values)
    assert fill_gaps(weeks(missing=[671])).values == pytest.approx(weeks().values)


def test_an_hour_never_seen_falls_back_to_its_time_of_day_then_to_all():
    """With one week, the lost Tuesday looks like the other days at that hour."""
    daily = weeks(count=1, missing=range(24, 48), value=lambda hour: float(hour % 24))
    assert fill_gaps(daily).values == pytest.approx(tuple(float(hour % 24) for hour in range(168)))
    assert fill_gaps(Series("x", Target(), MONDAY, 3600.0, (5.0, *[None] * 6, 9.0))).values[3] == 7.0


def test_nothing_observed_is_nothing_to_fill():
    """An empty series, or one of gaps only, stays unknown."""
    assert fill_gaps(Series("x", Target(), 0, 3600.0, ())) is None
    assert fill_gaps(Series("x", Target(), 0, 3600.0, (None, None))) is None


@given(st.lists(st.none() | st.floats(-100, 100), max_size=60), st.sampled_from([60.0, 3600.0, 86400.0, 10**6]))
def test_observations_are_never_changed_and_fills_stay_in_range(values, step_s):
    """Filling touches gaps only and invents nothing beyond what was observed."""
    found = fill_gaps(Series("x", Target(), MONDAY, step_s, tuple(values)))
    observed = [value for value in values if value is not None]
    if found is None:
        assert not observed
        return
    assert all(new == old for new, old in zip(found.values, values, strict=True) if old is not None)
    assert found.filled == tuple(value is None for value in values)
    assert found.series.values == found.values
    assert all(min(observed) - 1e-9 <= value <= max(observed) + 1e-9 for value in found.values)
    assert min(observed) <= median(found.values) <= max(observed)
