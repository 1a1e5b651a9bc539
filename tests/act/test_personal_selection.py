"""Decisions for some people only: who is meant, who is not, and what happens when nobody can tell."""

from __future__ import annotations

import json
import time

import pytest
from governed import decision, execute, snapshot
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from otel_perfopt.act.asker import asker_of
from otel_perfopt.act.runtime import Runtime
from otel_perfopt.act.selection import NOBODY, Asker, Plan
from otel_perfopt.act.snapshot_source import FixedSource
from otel_perfopt.conventions import PREFERENCE, PREFERENCE_SOURCE
from otel_perfopt.decide.decision import Match, Snapshot
from otel_perfopt.decide.personalization import Personalization
from otel_perfopt.signal.calls import RunContext, ToolCall
from otel_perfopt.signal.preference import PREFERENCES
from otel_perfopt.signal.user_digest import user_digest

SALT = "ab" * 16
ADA = user_digest("ada", SALT)
FOR_SPEED = Match(command=("/query",), preference=("speed",))


def routing(**changes):
    return decision("effort_routing", **{"effects": {}, "match": FOR_SPEED, **changes})


def plan(*decisions, **people):
    return Plan.of(snapshot(*decisions, personalization=Personalization(SALT, **people)))


def run_of(user="", preference="", command="/query"):
    span = TracerProvider(shutdown_on_exit=False).get_tracer("t").start_span(command)
    return RunContext(command, "c", user, span, preference=preference, preference_source="stated" if preference else "")


def chosen(one, run, model="gpt-5"):
    return set(one.select_inference(run.command, model, asker_of(run, one)))


@pytest.mark.parametrize(
    ("preference", "user", "learned", "expected"),
    [
        ("speed", "", {}, True),
        ("quality", "", {}, False),
        ("", "ada", {}, False),
        ("", "ada", {"users": {ADA: "speed"}}, True),
        ("", "joan", {"users": {ADA: "speed"}}, False),
        ("quality", "ada", {"users": {ADA: "speed"}}, False),
        ("balanced", "ada", {"users": {ADA: "speed"}}, False),
        ("speed", "ada", {"users": {ADA: "quality"}}, True),
        ("", "ada", {"users": {ADA: "speed"}, "user_commands": {ADA: {"/query": "none"}}}, False),
        ("", "ada", {"user_commands": {ADA: {"/query": "speed"}}}, True),
        ("", "stranger", {"commands": {"/query": "speed"}}, True),
        ("", "", {"commands": {"/query": "speed"}}, True),
        ("", "ada", {"users": {ADA: "none"}, "commands": {"/query": "speed"}}, False),
    ],
)
def test_what_is_said_wins_over_what_was_learned_and_that_over_nothing(preference, user, learned, expected):
    """A decision for those who prefer speed is about exactly those."""
    assert ("effort_routing" in chosen(plan(routing(), **learned), run_of(user, preference))) is expected


def test_users_are_named_by_digest_and_may_be_left_out():
    """One user is meant by one policy, and excluded from another that is for everybody else."""
    own = routing(policy="own", match=Match(command=("/query",), user=(ADA,)), parameters={"effort": "minimal"})
    rest = routing(policy="rest", match=Match(command=("/query",)), exclude=Match(user=(ADA,), preference=("quality",)))
    both = plan(own, rest)
    policies = {
        name: [rule.decision.policy for rule in both.select_inference("/query", "m", asker_of(run, both)).values()]
        for name, run in (("ada", run_of("ada")), ("joan", run_of("joan")), ("careful", run_of("x", "quality")))
    }
    assert policies == {"ada": ["own"], "joan": ["rest"], "careful": []}


def test_a_call_for_nobody_in_particular_is_not_meant():
    """Whoever asks a plan without saying for whom gets only what is for everybody."""
    everybody = decision("prompt_tidy", effects={}, match=Match(command=("/query",)))
    found = plan(routing(), everybody)
    assert set(found.select_inference("/query", "m")) == {"prompt_tidy"}
    tools = plan(decision(match=Match(preference=("speed",))))
    assert not tools.select("/query", "read_a", "unknown").rules
    assert tools.select("/query", "read_a", "unknown", Asker("speed")).rules


def test_where_no_decision_asks_nobody_is_looked_up():
    """Without such a decision the run is left as it is, whatever the table says."""
    one, run = plan(routing(match=Match()), users={ADA: "speed"}), run_of("ada")
    assert one.personal is None
    assert asker_of(run, one) is NOBODY
    assert not run.slots
    assert run.preference_source == ""


def test_a_run_keeps_its_preference_and_says_how_it_came_to_it():
    """What was settled at the first call holds to the end, and stands on the command's span."""
    first, later = plan(routing(), users={ADA: "speed"}), plan(routing(), users={ADA: "quality"})
    run = run_of("ada")
    assert chosen(first, run) == chosen(later, run) == {"effort_routing"}
    assert (run.preference, run.preference_source) == ("speed", "learned")
    assert (run.span.attributes[PREFERENCE], run.span.attributes[PREFERENCE_SOURCE]) == ("speed", "learned")
    unknown = run_of("joan")
    assert not chosen(first, unknown)
    assert PREFERENCE not in unknown.span.attributes


def test_what_changes_the_whole_process_is_for_nobody_in_particular():
    """Such a decision is left out and counted; the others stand."""
    found = plan(decision("gc_tuning", effects={}, match=FOR_SPEED), routing())
    assert [rule.decision.optimization for rule in found.rules] == ["effort_routing"]
    assert found.problems


def test_a_tool_optimization_can_be_for_some_people():
    """A cache for those who prefer speed answers them, and nobody else."""
    made = []

    def read_page(page: int):
        made.append(page)
        return page

    source = FixedSource(snapshot(decision(match=Match(preference=("speed",))), personalization=Personalization(SALT)))
    runtime = Runtime(source)
    for run in (run_of("a", "speed"), run_of("b")):
        for _ in range(2):
            call = ToolCall("read_page", read_page, (1,), {}, run)
            assert runtime.around_tool(call, execute) == 1
    runtime.close()
    assert len(made) == 3


def test_a_snapshot_goes_there_and_back_and_one_without_people_is_read():
    """The table survives; one that is missing or damaged means that nobody is known, and decisions stand."""
    people = Personalization(SALT, {ADA: "speed"}, {ADA: {"/x": "quality"}}, {"/y": "speed"})
    told = snapshot(routing(), personalization=people)
    assert Snapshot.from_json(told.to_json()) == told
    raw = json.loads(told.to_json())
    for damage in (None, [], "x", {"users": [1]}, {"users": {ADA: {}}, "user_commands": 3}):
        read = Snapshot.from_json(json.dumps({**raw, "personalization": damage}))
        assert read.decisions == told.decisions
        assert not read.personalization.users
    del raw["personalization"]
    assert Snapshot.from_json(json.dumps(raw)).personalization == Personalization()


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([ADA, "speed", "/query", "users"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from([ADA, "users", "commands"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_table_is_read_to_known_words_only(raw):
    """Whatever a snapshot holds in the table's place, no run comes to a preference that is none."""
    people = Personalization.read(raw)
    one = Plan.of(Snapshot(1, time.time_ns(), 60.0, decisions=(routing(),), personalization=people))
    assert asker_of(run_of("ada"), one).preference in ("", *PREFERENCES)


def test_digests_differ_by_salt_and_nobody_has_one_without():
    """The same user is somebody else elsewhere; without a proper salt there is no digest at all."""
    assert len(ADA) == 16
    assert user_digest("ada", "cd" * 16) != ADA
    assert (
        user_digest("", SALT) == user_digest("ada", "") == user_digest("ada", "ab") == user_digest("ada", "xyz") == ""
    )
