"""Heavy work of the loop waits for the load's troughs, on weeks with a planted night, and never longer than its deadline."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import pytest
from recorded_weeks import HOUR, MONDAY, RecordedWeeks, daily_load

from otel_perfopt.decide.state import State
from otel_perfopt.loop.controller import Controller
from otel_perfopt.loop.trough_schedule import TroughSchedule

WEEKS = 3
POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}]}
  goal: {metric: latency}
"""


class Counting(Executor):
    """Runs what is submitted before it returns, and counts it."""

    def __init__(self):
        self.count = 0

    def submit(self, function, /, *arguments, **named):
        self.count += 1
        future = Future()
        future.set_result(function(*arguments, **named))
        return future


class Scheduled:
    """A home folder with three weeks of runs that come by day, and a controller with a schedule."""

    def __init__(self, home, load, deadline_h):
        self.now_h = WEEKS * 168 + 9.0
        self.executor = Counting()
        weeks = RecordedWeeks(home)
        for hour in range(int(self.now_h)):
            weeks.write(hour, weeks.poisson(load(hour)), 1.0)
        (home / "policies").mkdir()
        (home / "policies" / "parallel.yaml").write_text(POLICY)
        self.schedule = TroughSchedule(deadline_h * 3600.0)
        self.controller = Controller(
            home, lambda: MONDAY + int(self.now_h * HOUR), executor=self.executor, schedule=self.schedule
        )

    def at(self, day_hour):
        """Take a turn at an hour of that Monday (more than 24: of a later day); return how many analyses it began."""
        self.now_h = WEEKS * 168 + day_hour
        before = self.executor.count
        assert self.controller.turn().problems == ()
        return self.executor.count - before

    @property
    def state(self):
        return next(one.state.state for one in self.controller.policies.statuses(MONDAY))

    def approve(self):
        self.controller.policies.approve("parallel", "ann", "", MONDAY + int(self.now_h * HOUR))


@pytest.fixture(scope="module")
def by_day(tmp_path_factory):
    """The load is highest at 15:00 UTC and lowest at 03:00."""
    return Scheduled(tmp_path_factory.mktemp("by-day"), daily_load, deadline_h=60)


def test_analyses_and_roll_outs_wait_for_the_night(by_day):
    """The first analysis comes at once; from then on both wait for the planted trough, and begin in it."""
    assert by_day.at(9) == 1, "nothing is known yet"
    windows = by_day.schedule.windows
    assert windows
    for start_ns, end_ns in windows:
        middle = ((start_ns + end_ns) / 2 - MONDAY) / HOUR % 24
        assert min(abs(middle - 3), 24 - abs(middle - 3)) <= 3, "the trough was planted at 03:00"
    by_day.at(9.1)
    by_day.approve()
    assert [by_day.at(hour) for hour in (9.5, 12, 15, 18)] == [0, 0, 0, 0]
    assert by_day.state is State.AWAITING
    night = min((start_ns for start_ns, _ in windows if start_ns > MONDAY + (WEEKS * 168 + 18) * HOUR))
    assert by_day.at((night - MONDAY) / HOUR - WEEKS * 168 + 0.5) == 1
    assert by_day.state is State.CANARY
    assert by_day.controller.policies.healthy


def test_what_is_known_of_the_future_ends_and_the_deadline_holds(by_day):
    """A schedule that forbids everything forbids nothing once its windows are over, or its deadline has come."""
    windows = by_day.schedule.windows
    first_ns = windows[0][0]
    schedule = TroughSchedule(deadline_s=3600.0)
    schedule._windows = ((first_ns, first_ns + HOUR),)
    since = first_ns - 2 * HOUR
    assert not schedule.may_begin(since + HOUR // 2, since)
    assert schedule.may_begin(since + HOUR, since), "the deadline"
    assert schedule.may_begin(first_ns, first_ns - 1), "the trough"
    assert not schedule.may_begin(first_ns - 1, first_ns - 2)
    assert schedule.may_begin(first_ns + HOUR, first_ns + HOUR - 1), "nothing is forecast any more"
    assert schedule.may_begin(since + 1, None), "what was never done"


def test_without_a_rhythm_nothing_is_put_off(tmp_path):
    """The same load day and night has no troughs: analyses come as ever."""
    flat = Scheduled(tmp_path, lambda hour: 4.0, deadline_h=60)
    assert [flat.at(hour) for hour in (9, 9.2)] == [1, 1]
    assert flat.schedule.windows == ()
