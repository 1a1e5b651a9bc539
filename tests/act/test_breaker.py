"""When an optimization rests."""

from __future__ import annotations

from otel_perfopt.act.breaker import Breaker, BreakerState
from otel_perfopt.act.clock import Clock


def breaker_at(now):
    return Breaker(Clock(monotonic_ns=lambda: now[0]), faults_to_open=3, window_s=60, rest_s=30)


def test_three_faults_within_the_window_open_it():
    """Then nothing is allowed until the rest is over, and one trial closes it."""
    now = [10**12]
    breaker = breaker_at(now)
    for _ in range(3):
        assert breaker.allow()
        breaker.failed()
    assert not breaker.allow()
    now[0] += 30 * 10**9
    assert breaker.allow()
    assert breaker.state is BreakerState.HALF_OPEN
    assert not breaker.allow()
    breaker.succeeded()
    assert breaker.allow()
    assert breaker.faults == 3


def test_a_failed_trial_opens_it_again():
    """One fault in half-open is enough."""
    now = [10**12]
    breaker = breaker_at(now)
    for _ in range(3):
        breaker.failed()
    now[0] += 30 * 10**9
    assert breaker.allow()
    breaker.failed()
    assert not breaker.allow()


def test_faults_far_apart_do_not_open_it():
    """Only those within the window count together."""
    now = [10**12]
    breaker = breaker_at(now)
    for _ in range(10):
        breaker.failed()
        now[0] += 31 * 10**9
    assert breaker.allow()


def test_a_trial_that_never_reports_does_not_block_for_ever():
    """Its thread may have died: after another rest the next one may try."""
    now = [10**12]
    breaker = breaker_at(now)
    for _ in range(3):
        breaker.failed()
    now[0] += 30 * 10**9
    assert breaker.allow()
    now[0] += 30 * 10**9
    assert breaker.allow()
