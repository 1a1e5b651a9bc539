"""Memory per run is a series like the others: its growth and rhythm are found, and forecast with an interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from written_runs import run

from otel_perfopt import conventions as c
from otel_perfopt.analyse.histories import Histories
from otel_perfopt.analyse.history import Forecast, Trend
from otel_perfopt.analyse.series_findings import series_findings
from otel_perfopt.execution.model import Execution
from otel_perfopt.measure.measurement import Measurement
from otel_perfopt.measure.series import COUNT, MEMORY, SeriesBuilder

HOUR = 3600 * 10**9
MONDAY = 1_767_571_200 * 10**9
MIB = 2**20
WEEKS = 4
GROWS_A_DAY = 1.5  # MiB


def stating(start_ns: int, memory: object) -> Execution:
    made = run(start_ns, start_ns + 10**9)
    return replace(made, command=replace(made.command, attributes={c.COMMAND_MEMORY: memory}))


def weeks_of(memory_mib) -> Histories:
    """Three runs an hour for four weeks; `memory_mib` says what the process holds at an hour."""
    histories = Histories()
    for hour in range(WEEKS * 168):
        for number in range(3):
            histories.observe(stating(MONDAY + hour * HOUR + number * 10**11, memory_mib(hour) * MIB))
    return histories


def planted(hour: int) -> float:
    noise = np.random.default_rng(hour).normal(0, 10)
    return 300 + GROWS_A_DAY * hour / 24 + 40 * np.sin(2 * np.pi * (hour % 24 - 9) / 24) + noise


def test_growth_and_rhythm_of_memory_are_found_and_forecast():
    """1.5 MiB a day and a daily rhythm of 40 MiB: the slope's interval holds it, and the forecast holds the next day."""
    outcome = weeks_of(planted).outcome()
    history = next(one for one in outcome.histories if one.series.metric == MEMORY)
    assert isinstance(history.trend, Trend)
    assert history.trend.significant
    slope = history.trend.slope_per_day
    assert slope.low <= GROWS_A_DAY * MIB <= slope.high
    assert slope.high - slope.low < 0.4 * GROWS_A_DAY * MIB
    forecast = history.forecast
    assert isinstance(forecast, Forecast)
    coming = [planted(WEEKS * 168 + hour) * MIB for hour in range(24)]
    held = [low <= real <= high for low, real, high in zip(forecast.low, coming, forecast.high, strict=False)]
    assert sum(held) >= 18
    found = {one.kind: one for one in series_findings(outcome) if one.effect.metric == "memory"}
    assert {"trend", "season", "seasonal_peak"} <= set(found)
    assert found["trend"].summary.startswith("Memory a process holds rises by")
    assert found["trend"].effect.unit == "By"
    assert found["seasonal_peak"].suggestion is None


def test_memory_that_stays_shows_no_trend():
    """Noise about one level: nothing is claimed of memory."""
    outcome = weeks_of(lambda hour: 300 + np.random.default_rng(hour + 7).normal(0, 4)).outcome()
    assert not [one for one in series_findings(outcome) if one.effect.metric == "memory"]


def test_runs_that_state_no_memory_have_no_series_of_it():
    """No number, nothing or less than nothing: a gap, and without any no series at all."""
    builder = SeriesBuilder()
    for hour, stated in enumerate((None, True, "much", -1)):
        builder.add(stating(MONDAY + hour * HOUR, stated))
    assert builder.series(MEMORY) is None
    builder.add(stating(MONDAY + HOUR, 100))
    builder.add(stating(MONDAY + HOUR, 300))
    assert builder.series(MEMORY).values == (None, 200.0, None, None)


def test_what_a_store_adds_up_keeps_the_memory_of_the_runs_looked_into():
    """Counts come from the store, memory from the sample of runs."""
    sample = SeriesBuilder()
    sample.add(stating(MONDAY, 100))
    store = SeriesBuilder()
    latencies = Measurement()
    for _ in range(50):
        latencies.add(1.0)
    target = next(one for one in sample.targets() if one.command or one.service)
    store.add_runs(target, MONDAY // HOUR, latencies, errors=0, tokens=0)
    histories = Histories()
    histories._hours = sample
    histories.believe(store)
    assert histories._hours.series(MEMORY).values == (100.0,)
    assert histories._hours.series(COUNT).values == (50.0,)
