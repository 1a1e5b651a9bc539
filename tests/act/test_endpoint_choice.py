from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.call_budget import CallBudget
from otel_perfopt.act.endpoint_choice import EndpointChoice
from otel_perfopt.act.latency_memory import LEAST_KNOWN, LatencyMemory


class Clock:
    def __init__(self):
        self.ns = 0

    def monotonic_ns(self):
        return self.ns

    def wall_ns(self):
        return self.ns


def test_the_faster_endpoint_gets_most_calls():
    """Ten times as fast, it gets most of what comes; the slow one is still tried now and then."""
    choice = EndpointChoice(3, 3, 30.0, Clock(), random.Random(1).random)
    durations, asked = (0.1, 0.1, 1.0), [0, 0, 0]
    for _ in range(600):
        index = choice.choose()
        asked[index] += 1
        choice.ended(index, durations[index], failed=False)
    assert asked[2] < 0.05 * 600
    assert min(asked[:2]) > 150


def test_an_endpoint_that_rests_comes_back_and_one_more_failure_sends_it_away():
    """The rest ends by itself; the trial after it needs only one failure to end again."""
    clock = Clock()
    choice = EndpointChoice(2, 3, 30.0, clock, lambda: 0.0)
    for _ in range(3):
        choice.ended(0, 0.0, failed=True)
    assert [choice.choose() for _ in range(3)] == [1, 1, 1]
    clock.ns = 31_000_000_000
    assert choice.choose(preferred=0) == 0
    choice.ended(0, 0.0, failed=True)
    assert choice.choose(preferred=0) == 1


def test_where_all_rest_somebody_is_asked_all_the_same():
    """Refusing every call would be worse than trying one."""
    choice = EndpointChoice(2, 1, 30.0, Clock(), lambda: 0.0)
    choice.ended(0, 0.0, failed=True)
    choice.ended(1, 0.0, failed=True)
    assert choice.choose() in (0, 1)


@given(st.lists(st.booleans(), max_size=500), st.floats(0.0, 0.5))
def test_extra_calls_stay_within_their_share(asks, share):
    """However they come, at most the share and a few saved up are made."""
    budget, extra = CallBudget(share), 0
    for made, ask in enumerate(asks, start=1):
        budget.earn()
        extra += ask and budget.spend()
        assert extra <= made * share + 1.0 + 1e-9  # a share has no last digit


def test_a_quantile_is_known_when_enough_is():
    """Few durations give none; many give one of them."""
    memory = LatencyMemory()
    for number in range(LEAST_KNOWN - 1):
        memory.observe(number)
    assert memory.quantile(0.95) is None
    memory.observe(100.0)
    assert memory.quantile(0.95) == 100.0
    assert memory.quantile(0.5) == 10
