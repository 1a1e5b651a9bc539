"""The adaptive parts of a policy: what can be written is read back, what cannot is told with its reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from otel_perfopt.decide.boundary import DEFAULT_BOUNDARY, violations
from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.decide.live import LIVE_MEASURES, PER_MINUTE, SECONDS, Live, format_level, parse_level
from otel_perfopt.decide.quantity import parse_percent
from otel_perfopt.decide.tuning import TUNABLE_PARAMETERS, Tune


def texts(unit):
    if unit == SECONDS:
        return st.integers(1, 10_000).map(lambda number: f"{number}ms")
    return st.integers(1, 100).map(lambda number: f"{number}/min" if unit == PER_MINUTE else f"{number}%")


@st.composite
def lives(draw):
    measure = draw(st.sampled_from(sorted(LIVE_MEASURES)))
    above, off = sorted((draw(texts(LIVE_MEASURES[measure].unit)) for _ in range(2)), key=level, reverse=True)
    more = draw(st.fixed_dictionaries({}, optional={"for": st.just("90s"), "minCalls": st.integers(2, 99)}))
    return {"measure": measure, "above": above, "offBelow": off, **more}


def level(text):
    return parse_level(text).value


@given(lives())
def test_every_live_condition_that_can_be_written_is_read(raw):
    """Measure and levels come back as they were meant, and what they are written as is read the same again."""
    read = Live.model_validate(raw)
    assert read.off.value <= read.above.value
    assert parse_level(format_level(read.above.value, read.unit)).value == pytest.approx(read.above.value, rel=1e-3)
    json.dumps(read.model_dump(mode="json"))


@given(st.text(max_size=50) | st.integers() | st.floats() | st.none() | st.lists(st.integers(), max_size=2))
def test_no_level_is_anything_but_a_level_or_a_sentence(value):
    """Whatever stands there is a level or an error that says how to write one."""
    found, told = None, ""
    try:
        found = parse_level(value)
    except ValueError as error:
        told = str(error)
    assert "write 2s" in told if found is None else found.value >= 0


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ({"measure": "tool_latency", "above": "2s"}, "did you mean 'tool_latency_p95'"),
        ({"measure": "tool_latency_p95", "above": "5%"}, "is written as 2s"),
        ({"measure": "rate_limited_share", "above": "2s"}, "is written as 5%"),
        ({"measure": "load", "above": "2s"}, "is written as 300/min"),
        ({"measure": "queue", "above": "2s", "offBelow": "3s"}, "at most above"),
        ({"measure": "queue", "tool": "search", "above": "2s"}, "leave tool out"),
        ({"measure": "queue", "above": "2s", "over": "2h"}, "at most 1h"),
    ],
)
def test_what_makes_no_sense_is_told(raw, told):
    """Each mistake has its sentence."""
    with pytest.raises(ValidationError, match=told):
        Live.model_validate(raw)


@pytest.mark.parametrize("when", [{}, {"finding": "trend", "live": {"measure": "load", "above": "9/min"}}])
def test_a_condition_is_of_one_kind(policy, when):
    """A `when` with neither or both of finding and live is refused."""
    with pytest.raises(ValidationError, match="either finding"):
        policy(when=when)


def test_a_policy_without_the_new_fields_keeps_its_digest(policy):
    """Approvals given before adaptive execution existed still hold: these digests are of that time."""
    assert policy_digest(policy()) == BEFORE["plain"]
    assert policy_digest(policy(when={"finding": "trend"})) == BEFORE["trend"]


BEFORE = {
    "plain": "sha256:f69a0870d0e35fba1fe75f50ad82750dbd241ad77efd8727f9e67ced12efa8e2",
    "trend": "sha256:baee4ae24339b408410ac663b51976715863a1cb547d005afb6297e38fa35c6a",
}


@given(st.sampled_from(sorted(TUNABLE_PARAMETERS)), st.data())
def test_every_range_gives_values_inside_it(optimization, data):
    """From one end to the other, in as many steps as asked or fewer, from small to large and never outside."""
    word = data.draw(st.sampled_from(sorted(TUNABLE_PARAMETERS[optimization])))
    parameter = TUNABLE_PARAMETERS[optimization][word]
    is_share, is_whole = parameter.quantity.read is parse_percent, parameter.quantity.is_whole
    range_of = (
        st.integers(50, 99) if is_share else st.integers(max(2, int(parameter.least)), int(min(parameter.most, 5000)))
    )
    ends = sorted((data.draw(range_of), data.draw(range_of)))
    written = [end if is_whole else f"{end}{'%' if is_share else 's'}" for end in ends]
    steps = data.draw(st.integers(2, 9))
    tune = Tune.model_validate({"parameter": word, "from": written[0], "to": written[1], "steps": steps})
    if ends[0] >= ends[1]:
        with pytest.raises(ValueError, match="from must be less"):
            tune.numbers(optimization)
        return
    numbers = tune.numbers(optimization)
    low, high = (parameter.quantity.read(one) for one in written)
    assert list(numbers) == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (low, high)
    assert 2 <= len(numbers) <= steps


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"tune": {"parameter": "ttl"}}, "needs either values, or from and to"),
        ({"tune": {"parameter": "tt", "values": ["1m", "2m"]}}, "did you mean 'ttl'"),
        ({"tune": {"parameter": "ttl", "values": [1, 2]}}, "is no duration"),
        ({"tune": {"parameter": "ttl", "values": ["1m", "60s"]}}, "two different values"),
        ({"tune": {"parameter": "ttl", "values": ["1m"], "from": "1m", "to": "2m"}}, "needs either"),
        (
            {
                "optimize": {"type": "tool_cache", "with": {"scope": "user"}},
                "tune": {"parameter": "ttl", "values": ["1m", "2m"]},
            },
            "tune it with scope: conversation",
        ),
        (
            {"optimize": {"type": "parallel_tools"}, "tune": {"parameter": "maxConcurrency", "from": 2, "to": 99}},
            "between 2 and 64",
        ),
        ({"optimize": {"type": "prompt_tidy"}, "tune": {"parameter": "x", "values": [1, 2]}}, "cannot be tuned"),
    ],
)
def test_what_cannot_be_tuned_is_told(policy, spec, told):
    """Each mistake has its sentence."""
    with pytest.raises(ValidationError, match=told):
        policy(**spec)


def test_a_boundary_holds_for_every_value_that_is_tried(policy):
    """One value beyond the boundary forbids the policy, although the declared one is inside."""
    tuned = policy(optimize={"type": "parallel_tools"}, tune={"parameter": "maxConcurrency", "from": 2, "to": 32})
    assert any("maxConcurrency is 32, allowed is 16" in message for message in violations(tuned, [DEFAULT_BOUNDARY]))
    tuned = policy(optimize={"type": "parallel_tools"}, tune={"parameter": "maxConcurrency", "from": 2, "to": 16})
    assert not violations(tuned, [DEFAULT_BOUNDARY])
