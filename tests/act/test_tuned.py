"""Each treated unit has its own value of a tuned parameter: sticky, one of those approved, and said on its span."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from governed import decision, snapshot
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.enrolment import enrol, use_of
from otel_perfopt.act.parameters.table import OPTIMIZATIONS
from otel_perfopt.act.selection import Plan
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.decide.tuned import Tuned
from otel_perfopt.decide.tuning import TUNABLE_PARAMETERS

VALUES = (2, 4, 8)


def tuned(left=(0, 1, 2), **changes):
    whole = {"optimization": "parallel_tools", "parameters": {"max_concurrency": 16}, "salt": "s", **changes}
    return decision(tuned=Tuned("max_concurrency", VALUES, left), **whole)


def rule_of(one):
    return Plan.of(snapshot(one)).rules[0]


@given(st.text(min_size=1, max_size=40), st.sets(st.integers(0, 5), min_size=1, max_size=6))
def test_a_unit_keeps_its_value_until_that_is_dropped(unit, left):
    """With all values left a unit has one of them; while its own stays, no drop of another moves it."""
    values = tuple(range(6))
    first = Tuned("x", values, values).index("salt", unit)
    later = Tuned("x", values, tuple(sorted(left))).index("salt", unit)
    assert later in left
    assert later == first or first not in left


def test_values_are_shared_out_evenly_also_after_a_drop():
    """Of nine thousand units each of three values has a third, and after a drop each of two a half."""
    for left, share in (((0, 1, 2), 3000), ((0, 2), 4500)):
        found = Counter(Tuned("x", VALUES, left).index("salt", str(number)) for number in range(9000))
        assert set(found) == set(left)
        assert all(abs(count - share) < 300 for count in found.values())


def test_treated_runs_get_their_value_and_say_so(new_run):
    """Treatment runs with one of the approved values, which stands on the span; baseline and shadow are as ever."""
    rule = rule_of(tuned(allocation=Allocation(1.0, 0.0)))
    seen = set()
    for number in range(30):
        run = new_run(conversation=f"c{number}")
        use = use_of(enrol(run, rule, "p"), rule)
        value = use.rule.parameters.max_concurrency
        assert run.span.attributes["perfopt.policy.parallel-tools-policy.value"] == value
        assert use_of(enrol(run, rule, "p"), rule).rule is use.rule
        seen.add(value)
    assert seen == set(VALUES)
    baseline = rule_of(tuned(allocation=Allocation(0.0, 1.0)))
    run = new_run()
    assert use_of(enrol(run, baseline, "p"), baseline) is None
    assert "perfopt.policy.parallel-tools-policy.value" not in run.span.attributes
    shadow = rule_of(tuned(stage="shadow", allocation=Allocation()))
    assert use_of(enrol(new_run(), shadow, "p"), shadow).rule.parameters.max_concurrency == 16


def test_a_run_ends_with_the_value_it_began_with(new_run):
    """A snapshot that drops a value in mid-run changes nothing for that run, and everything for the next."""
    before, after = (rule_of(tuned(left, allocation=Allocation(1.0, 0.0))) for left in ((0, 1, 2), (1,)))
    for number in range(10):
        run = new_run(conversation=f"c{number}")
        value = use_of(enrol(run, before, "p"), before).rule.parameters.max_concurrency
        assert use_of(enrol(run, after, "p"), after).rule.parameters.max_concurrency == value
        fresh = new_run(conversation=f"c{number}")
        assert use_of(enrol(fresh, after, "p"), after).rule.parameters.max_concurrency == 4


def test_the_snapshot_carries_values_only_where_something_is_tuned():
    """Read back it is the same; a policy that tunes nothing has no such key, and a broken one leaves its calls plain."""
    both = Snapshot(1, 2, 3.0, decisions=(tuned(), decision()))
    assert Snapshot.from_json(both.to_json()) == both
    assert both.to_json().count('"tuned"') == 1
    assert '"start"' not in both.to_json()
    wrong = Plan.of(snapshot(decision(tuned=Tuned("no_such", (1, 2), (0,)))))
    assert not wrong.rules
    assert wrong.problems


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"parameter": "a", "values": [1], "left": [1]},
        {"parameter": "a", "values": ["x"], "left": [0]},
        {"parameter": "a", "values": [1, 2], "left": []},
    ],
)
def test_what_names_no_value_is_refused(raw):
    """A table without a usable value is a fault of the snapshot, not a value of nothing."""
    with pytest.raises(ValueError, match="value"):
        Tuned.read(raw)


@pytest.mark.parametrize(
    ("optimization", "word"), [(kind, word) for kind, words in TUNABLE_PARAMETERS.items() for word in words]
)
def test_agents_take_every_value_that_can_be_declared(optimization, word):
    """The ends of each range are read by the agent side as they are declared."""
    parameter = TUNABLE_PARAMETERS[optimization][word]
    for end in (parameter.least, parameter.most):
        value = int(end) if parameter.quantity.is_whole else end
        read = OPTIMIZATIONS[optimization].read({parameter.field: value})
        assert getattr(read, parameter.field) == value


def test_a_tuned_ttl_decides_for_how_long_its_unit_keeps_a_result(new_agent):
    """Of two conversations with the same calls, the one with the short value calls again, the one with the long does not."""
    made = []

    def read_a(name: str):
        made.append(name)
        return {"name": name}

    one = decision(
        parameters={"ttl_s": 60.0, "scope": "conversation"}, tuned=Tuned("ttl_s", (0.01, 600.0), (0, 1)), salt="s"
    )
    conversations = {one.tuned.index("s", f"c{number}"): f"c{number}" for number in range(20)}
    for index, conversation in sorted(conversations.items()):
        made.clear()
        agent = new_agent(one, conversation=conversation)
        agent.call(read_a, "x")
        time.sleep(0.05)
        agent.call(read_a, "x")
        assert len(made) == (2 if index == 0 else 1)
