"""Policies wake and sleep by what series do, from telemetry on disk to the ledger, with the clock injected."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import pytest
from recorded_weeks import HOUR, MONDAY, RecordedWeeks, daily_load, servegen_load

from otel_perfopt.analyse.finding import Finding
from otel_perfopt.decide.state import State
from otel_perfopt.loop.controller import Controller

MINUTE = 60 * 10**9
POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {{name: {name}, author: somebody}}
spec:
  when: {when}
  match: {{command: [/task]}}
  optimize: {{type: parallel_tools}}
  goal: {{metric: latency}}
"""
CONDITIONS = {
    "before-the-peak": "{finding: seasonal_peak, metric: load, atLeast: 30%, ahead: 30m}",
    "before-a-high-peak": "{finding: seasonal_peak, metric: load, atLeast: 900%, ahead: 30m}",
    "in-the-trough": "{finding: seasonal_trough, metric: load, ahead: 1m}",
    "under-load": "{finding: load_correlation, metric: latency, atLeast: 2%}",
    "after-a-shift": "{finding: change_point, metric: latency}",
    "after-a-regression": "{finding: regression, metric: latency}",
    "on-alarm": "{finding: residual_alarm, metric: load}",
}


class AtOnce(Executor):
    """Runs what is submitted before it returns."""

    def submit(self, function, /, *arguments, **named):
        future = Future()
        future.set_result(function(*arguments, **named))
        return future


class Home:
    """A home folder with a policy for every condition, and a controller whose clock the test sets."""

    def __init__(self, home, conditions=CONDITIONS):
        self.home, self.now_ns = home, MONDAY
        self.weeks = RecordedWeeks(home)
        (home / "policies").mkdir()
        for name, when in conditions.items():
            (home / "policies" / f"{name}.yaml").write_text(POLICY.format(name=name, when=when))

    def start(self):
        self.controller = Controller(self.home, lambda: self.now_ns, executor=AtOnce())

    def at(self, hour, minute=0):
        """Take a turn at an hour since the first Monday; return which policies are awake."""
        self.now_ns = MONDAY + int(hour * HOUR) + minute * MINUTE
        # A policy that the turn declares is judged in the next one.
        turns = [self.controller.turn(), self.controller.turn()]
        assert [problem for turn in turns for problem in turn.problems] == []
        statuses = self.controller.policies.statuses(self.now_ns)
        return {status.name for status in statuses if status.state.state is not State.DORMANT}

    def finding(self, kind, metric) -> Finding:
        return next(
            one
            for one in self.controller.findings.latest(self.now_ns, print)
            if (one.kind, one.effect.metric) == (kind, metric)
        )


@pytest.fixture(scope="module")
def six_weeks(tmp_path_factory):
    """Six weeks up to a Monday 09:00: load by the hour of day, latency that follows it, a slower release in week six."""
    made = Home(tmp_path_factory.mktemp("six-weeks"))
    for hour in range(6 * 168 + 9):
        runs = made.weeks.poisson(daily_load(hour))
        slower = 1.25 if hour >= 5 * 168 + 60 else 1.0
        made.weeks.write(hour, runs, (1 + 0.06 * runs) * slower, release="2.0" if slower > 1 else "1.9")
    made.start()
    return made


def test_a_policy_wakes_before_the_daily_peak_and_sleeps_after_it(six_weeks):
    """Asleep two hours before, awake within half an hour of the window, asleep when it is over; never for 900 %."""
    monday = 6 * 168
    assert "before-the-peak" not in six_weeks.at(monday + 9, 5)
    peak = six_weeks.finding("seasonal_peak", "load")
    start, end = ((moment - MONDAY) / HOUR - monday for moment in peak.window_ns)
    assert 9.5 <= start <= 13
    assert 16 <= end <= 21
    # The window holds 7 runs an hour on average, the median of all hours is 3 or 4.
    assert 0.6 <= peak.effect.relative.estimate <= 1.6
    assert peak.effect.relative.low > 0
    assert "before-the-peak" not in six_weeks.at(monday + start - 0.6)
    awake = six_weeks.at(monday + start - 0.4)
    assert "before-the-peak" in awake
    assert "before-a-high-peak" not in awake
    assert "in-the-trough" not in awake
    assert "before-the-peak" in six_weeks.at(monday + end - 0.1)
    assert "before-the-peak" not in six_weeks.at(monday + end + 0.1)


def test_what_follows_the_load_and_what_changed_wake_policies(six_weeks):
    """Latency follows the load; the shift dates to the release, and both say so; no alarm where nothing is odd."""
    awake = six_weeks.at(6 * 168 + 22)
    assert {"under-load", "after-a-shift", "after-a-regression"} <= awake
    assert "on-alarm" not in awake
    regression = six_weeks.finding("regression", "latency")
    assert "release changed from 1.9 to 2.0" in regression.summary
    assert "Roll back to 1.9" in regression.summary
    assert regression.effect.relative.low < 0.25 < regression.effect.relative.high
    assert "1.9 → 2.0" in six_weeks.finding("change_point", "latency").summary
    correlated = six_weeks.finding("load_correlation", "latency")
    assert correlated.suggestion.optimization == "adaptive_concurrency"


def test_what_is_no_news_any_more_puts_policies_to_sleep(six_weeks):
    """A week after the shift nobody is woken by it, although it stands in the history."""
    awake = six_weeks.at(6 * 168 + 60 + 26)
    assert not {"after-a-shift", "after-a-regression", "before-the-peak"} & awake


def test_the_recorded_load_of_fourteen_days_wakes_and_stands_down(tmp_path, shared_data):
    """On servegen's fourteen days the daily peak is seen coming: awake before the evening's high, asleep at night."""
    load = servegen_load(shared_data / "servegen" / "m-small.tar.gz")
    conditions = {name: CONDITIONS[name] for name in ("before-the-peak", "in-the-trough")}
    made = Home(tmp_path, conditions)
    scale = 10 * len(load) / sum(load)
    last = len(load) - 24
    for hour in range(last):
        made.weeks.write(hour, round(load[hour] * scale), 1.0)
    made.start()
    made.at(last)
    peak = made.finding("seasonal_peak", "load")
    start, end = ((moment - MONDAY) / HOUR for moment in peak.window_ns)
    inside = sum(load[int(start) : int(end)]) / (end - start)
    typical = sorted(load[last - 168 : last])[84]
    assert last <= start < end <= last + 24
    assert inside > 1.1 * typical, "what was forecast came: the day that nobody had seen was high in that window"
    assert "before-the-peak" not in made.at(start - 0.6)
    assert "before-the-peak" in made.at(start - 0.4)
    assert "before-the-peak" not in made.at(end + 0.1)
