"""Which decisions apply to a call, and which arm a run is in."""

from __future__ import annotations

import pytest
from governed import decision, snapshot
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.call_key import call_key
from otel_perfopt.act.enrolment import enrol, use_of
from otel_perfopt.act.selection import Plan, ToolKey, parse_effects, resolve_effects
from otel_perfopt.act.snapshot_source import in_force_of
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Match


def chosen(*decisions, command="/query", tool="read_a", declared="unknown", settings=None):
    selection = Plan.of(snapshot(*decisions), settings or {}).select(command, tool, declared)
    return {name: rule.decision.policy for name, rule in selection.rules.items()}


def test_match_and_exclude():
    """Every named field must match; one excluded field is enough; the first decision of a type wins."""
    assert chosen(decision(match=Match(command=("/q*",), tool=("read_*",))))
    assert not chosen(decision(match=Match(command=("/task",), tool=("read_*",))))
    assert not chosen(decision(match=Match(tool=("read_*",)), exclude=Match(command=("/query",))))
    assert not chosen(decision(exclude=Match(tool_effects=("read",))))
    assert chosen(decision(exclude=Match(tool_effects=("write", "unknown"))))
    assert not chosen(decision(match=Match(model=("gpt-*",))))
    assert chosen(decision(policy="one"), decision(policy="two")) == {"tool_cache": "one"}


def test_effects_come_from_the_decision_then_the_environment_then_the_tool():
    """The first that names the tool wins, and what nobody names is unknown."""
    assert not chosen(decision(effects={}), declared="unknown")
    assert chosen(decision(effects={}), declared="read")
    assert not chosen(decision(effects={}), declared="read", settings={"read_*": "write"})
    assert chosen(decision(effects={"read_*": "read"}), declared="write", settings={"read_*": "write"})


def test_inside_one_table_the_most_literal_glob_wins_and_then_the_most_cautious_word():
    """`get_*=read` holds beside `*=write`; equal globs of different words do not make a tool read-only."""
    assert resolve_effects(ToolKey("get_a"), {"*": "write", "get_*": "read"}) == "read"
    assert resolve_effects(ToolKey("get_a"), {"get_a": "write", "get_?*": "read"}) == "write"
    assert resolve_effects(ToolKey("ab"), {"a*": "read", "*b": "write"}) == "write"
    assert resolve_effects(ToolKey("ab"), {"ab": "reads"}, {"ab": "read"}) == "unknown"
    assert parse_effects(["a=read", "b=nonsense", "c", "=read", " d = write "]) == {"a": "read", "d": "write"}


def test_the_arm_is_decided_once_for_a_run(new_run):
    """A snapshot that changes in mid-run moves nobody to the other arm; a new digest ends treatment."""
    run = new_run()

    def rule_of(**changes):
        return in_force_of(snapshot(decision(**changes))).plan.rules[0]

    first = enrol(run, rule_of(), "p")
    later = rule_of(allocation=Allocation(baseline=1.0), stage="canary-2")
    assert enrol(run, later, "p") is first
    assert use_of(first, later) is not None
    assert use_of(first, rule_of(digest="d2")) is None
    assert use_of(first, rule_of(stage="shadow")).shadow
    prefix = "perfopt.policy.tool-cache-policy."
    stamped = {key.removeprefix(prefix): value for key, value in run.span.attributes.items()}
    assert stamped == {"arm": "treatment", "digest": "d1", "stage": "canary-1", "allocation": 1.0}


@pytest.mark.parametrize(
    ("unit", "run", "expected"),
    [
        ("conversation", {"conversation": "c1"}, "c1"),
        ("conversation", {"conversation": ""}, "trace"),
        ("user", {"user": "u1"}, "u1"),
        ("user", {"user": ""}, None),
        ("process", {}, "p"),
        ("time_block", {}, None),
    ],
)
def test_the_unit_is_what_is_allocated(new_run, unit, run, expected):
    """A run that has no unit of that kind is outside the comparison, and unstamped."""
    half = Allocation(treatment=0.5, baseline=0.5)
    made = new_run(**run)
    rule = in_force_of(snapshot(decision(unit=unit, allocation=half))).plan.rules[0]
    name = format(made.span.get_span_context().trace_id, "032x") if expected == "trace" else expected
    assert enrol(made, rule, "p").arm == (half.arm("s", name) if name else None)
    assert bool(made.span.attributes) == (name is not None)
    stamped = made.span.attributes.get("perfopt.policy.tool-cache-policy.unit")
    # Only what no other attribute tells apart, and never the id itself.
    assert (stamped is not None) == (unit == "process")
    assert stamped is None or stamped != name


plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def tool(a, b=None, *rest, c=1, **more):
    return a, b, rest, c, more


@given(one=plain_data, two=plain_data)
def test_keys_are_equal_exactly_for_equal_data(one, two):
    """Two values share a key only when a tool could not tell them apart."""
    same = call_key(tool, (one,), {}) == call_key(tool, (), {"a": two})
    assert same == (repr(one) == repr(two))


@pytest.mark.parametrize("arguments", [((), {}), ((1,), {"a": 1}), ((object(),), {}), (([set()],), {})])
def test_calls_that_do_not_fit_or_are_no_data_have_no_key(arguments):
    """They are made plainly, and raise whatever they raise."""
    assert call_key(tool, *arguments) is None
