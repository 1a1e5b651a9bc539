"""Preferences that were planted are found, and those that are none are not claimed."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_users import SALT, START_NS, SimulatedUser, Taste, observed, population, rounds

from otel_perfopt.analyse.preference_learner import (
    ASKED_AGAIN_S,
    MAX_USERS,
    RUNS_KEPT,
    STATED_NS,
    PreferenceLearner,
)
from otel_perfopt.analyse.preference_profile import (
    BEHAVIOUR,
    NONE_SHOWN,
    OF_COMMAND,
    OF_USER,
    OF_USER_AND_COMMAND,
    STATED,
    TOO_LITTLE,
)
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.conventions import PREFERENCE, PREFERENCE_SOURCE
from otel_perfopt.execution.model import Evaluation
from otel_perfopt.signal.preference import QUALITY, SPEED
from otel_perfopt.signal.user_digest import user_digest

HOUR_NS = 3600 * 10**9


def prefers(learner, user, command="/query", now_ns=START_NS):
    return learner.profile(user_digest(user.name, SALT), command, now_ns).preference


def claims_ever(users, count, every=5):
    """Show so many runs of each user, settle again and again, and return what was ever claimed of each."""
    learner = PreferenceLearner(SALT)
    ever = {user.name: set() for user in users}
    for _ in range(count // every):
        observed(learner, rounds(users, every))
        learner.settle(START_NS)
        for user in users:
            word = prefers(learner, user)
            if word:
                ever[user.name].add(word)
    return learner, ever


def test_users_without_a_preference_get_none_however_often_one_looks():
    """Of 200 such users in 24 looks over 120 runs, the share ever claimed is surely below 5 %."""
    users = population(200, seed=1)
    _, ever = claims_ever(users, 120)
    wrong = sum(bool(words) for words in ever.values())
    assert wilson(wrong, len(users)).high < 0.05, wrong


@pytest.mark.parametrize(
    "taste",
    [
        Taste(base_asked=0.5),
        Taste(base_asked=1.0),
        Taste(base_interrupted=0.3),
        Taste(rates=1.0, noise=0.6),
    ],
    ids=["talks much", "never stops", "interrupts anything", "rates everything wildly"],
)
def test_habits_are_no_preference(taste):
    """Who does something more than others, but whatever the answer took, is not taken for preferring anything."""
    odd = [SimulatedUser(f"odd-{number}", taste=taste) for number in range(30)]
    users = [*population(30, seed=2), *odd]
    _, ever = claims_ever(users, 100)
    wrong = sum(bool(ever[user.name]) for user in odd)
    assert wrong <= 2, wrong


def test_what_everybody_thinks_of_slow_answers_is_nobodys_preference():
    """Where hard questions take longer and are rated worse by all, nobody is said to prefer speed for it."""
    confounded = Taste(impatience=0.05)
    users = [SimulatedUser(f"u{n}", {"/query": SPEED}, confounded) for n in range(60)]
    _, ever = claims_ever(users, 100)
    wrong = sum(bool(words) for words in ever.values())
    assert wrong <= 6, wrong


@pytest.mark.parametrize(("share", "least"), [(0.2, 0.75), (0.4, 0.5)], ids=["few have one", "most have one"])
def test_planted_preferences_are_found(share, least):
    """Most users with a preference are seen to have it within 96 runs, and hardly one is taken for the opposite.

    The more of them there are, the less each one stands out against the others.
    """
    users = population(100, seed=3, share=share)
    _, ever = claims_ever(users, 96)
    planted = [user for user in users if user.preferences["/query"]]
    right = sum(user.preferences["/query"] in ever[user.name] for user in planted)
    opposite = sum(bool(ever[user.name] - {user.preferences["/query"]}) for user in planted)
    assert wilson(right, len(planted)).low > least, (right, len(planted))
    assert opposite <= 1, opposite


@pytest.mark.parametrize("first", [SPEED, QUALITY])
def test_one_who_changes_is_followed(first):
    """After a change of mind the old preference is given up, and the new one is found, within 96 runs."""
    second = QUALITY if first == SPEED else SPEED
    others = population(40, seed=4)
    users = [SimulatedUser(f"turn-{n}", {"/query": first}, Taste(rates=0.8, scores=0.8)) for n in range(8)]
    learner = PreferenceLearner(SALT)
    before = []
    for _ in range(12):
        observed(learner, rounds([*others, *users], 6))
        learner.settle(START_NS)
        before = [prefers(learner, user) for user in users]
    for user in users:
        user.preferences = {"/query": second}
    after = dict.fromkeys((user.name for user in users), "")
    for _ in range(16):
        observed(learner, rounds([*others, *users], 6))
        learner.settle(START_NS)
        for user in users:
            after[user.name] = prefers(learner, user)
    assert before.count(first) >= 6, before
    assert before.count(second) == 0
    assert list(after.values()).count(second) >= 6, after
    assert list(after.values()).count(first) == 0, after


def test_a_preference_may_differ_by_command():
    """One who wants quick answers and careful texts is seen so, and nothing is said of a third command."""
    user = SimulatedUser("both", {"/query": SPEED, "/write": QUALITY}, Taste(rates=0.8))
    others = population(20, seed=5)
    learner = PreferenceLearner(SALT)
    for command in ("/query", "/write", "/other"):
        observed(learner, rounds(others, 40, command))
    for _ in range(48):
        observed(learner, iter([user.run("/query"), user.run("/write")]))
    learner.settle(START_NS)
    digest = user_digest("both", SALT)
    found = {command: learner.profile(digest, command, START_NS) for command in ("/query", "/write", "/other")}
    assert [found[command].preference for command in found] == [SPEED, QUALITY, ""]
    assert {found[command].level for command in ("/query", "/write")} == {OF_USER_AND_COMMAND}


def test_an_unknown_command_backs_off_to_the_user():
    """One who prefers speed at one command is taken to at a command never used before."""
    user = SimulatedUser("quick", {"/query": SPEED}, Taste(rates=0.9))
    learner = PreferenceLearner(SALT)
    observed(learner, rounds([*population(20, seed=6), user], 90))
    learner.settle(START_NS)
    profile = learner.profile(user_digest("quick", SALT), "/write", START_NS)
    assert (profile.preference, profile.level) == (SPEED, OF_USER)


@pytest.mark.parametrize(("stating", "expected"), [(12, SPEED), (6, "")], ids=["most", "half"])
def test_an_unknown_user_backs_off_to_the_command(stating, expected):
    """Where surely most users of a command prefer speed a stranger is taken to, at that command only."""
    said = {PREFERENCE: SPEED, PREFERENCE_SOURCE: "stated"}
    learner = PreferenceLearner(SALT)
    users = population(12, seed=13)
    observed(learner, rounds(users, 40))
    observed(learner, (user.run("/query", **said) for user in users[:stating]))
    learner.settle(START_NS)
    profile = learner.profile(user_digest("stranger", SALT), "/query", START_NS)
    assert profile.preference == expected
    assert profile.level == (OF_COMMAND if expected else OF_USER_AND_COMMAND)
    assert learner.profile(user_digest("stranger", SALT), "/write", START_NS).preference == ""


def test_those_known_first_do_not_speak_for_the_others():
    """In a population where some prefer speed and most nothing, no look ever takes everybody for preferring it."""
    users = population(60, seed=14, share=0.2)
    learner = PreferenceLearner(SALT)
    for _ in range(16):
        observed(learner, rounds(users, 5))
        learner.settle(START_NS)
        assert not learner.commands


def test_what_was_stated_wins_and_fades():
    """A statement outweighs what behaviour shows, for its command, until it is 30 days old; learned ones are no statement."""
    user = SimulatedUser("says", {"/query": SPEED}, Taste(rates=0.9))
    learner = PreferenceLearner(SALT)
    observed(learner, rounds([*population(20, seed=7), user], 90))
    learner.settle(START_NS)
    assert prefers(learner, user) == SPEED
    learner.observe(user.run("/query", **{PREFERENCE: QUALITY, PREFERENCE_SOURCE: "learned"}))
    learner.settle(START_NS)
    assert prefers(learner, user) == SPEED
    said = user.run("/query", **{PREFERENCE: "balanced", PREFERENCE_SOURCE: "stated"})
    learner.observe(said)
    learner.settle(START_NS)
    digest, now_ns = user_digest("says", SALT), said.command.end_ns
    assert learner.profile(digest, "/query", now_ns).basis == STATED
    assert learner.profile(digest, "/query", now_ns).preference == "balanced"
    assert learner.profile(digest, "/never", now_ns).preference == "balanced"
    assert learner.profile(digest, "/query", now_ns + STATED_NS + 1).preference == SPEED


def test_too_little_is_said_to_be_too_little():
    """Of a user with few runs nothing is claimed, and how many more it takes is told; later none is shown."""
    user = SimulatedUser("new")
    learner = PreferenceLearner(SALT)
    observed(learner, rounds(population(10, seed=8), 10))
    observed(learner, rounds([user], 4))
    learner.settle(START_NS)
    profile = learner.profile(user_digest("new", SALT), "/query", START_NS)
    assert (profile.basis, profile.preference, profile.needed_runs) == (TOO_LITTLE, "", 20)
    observed(learner, rounds([user], 60))
    learner.settle(START_NS)
    profile = learner.profile(user_digest("new", SALT), "/query", START_NS)
    assert (profile.basis, profile.preference, profile.needed_runs) == (NONE_SHOWN, "", 0)


def test_who_gets_what_is_preferred_keeps_it():
    """Once every answer is quick nothing contrasts any more, and the claim stands all the same."""
    user = SimulatedUser("served", {"/query": SPEED}, Taste(rates=0.9))
    learner = PreferenceLearner(SALT)
    others = population(20, seed=9)
    observed(learner, rounds([*others, user], 80))
    learner.settle(START_NS)
    assert prefers(learner, user) == SPEED
    quick = [run for run in rounds([user], 400) if run.duration_s < 3.0][:96]
    observed(learner, iter(quick))
    learner.settle(START_NS)
    assert len(quick) > RUNS_KEPT // 2
    assert prefers(learner, user) == SPEED


def test_scores_that_come_late_count():
    """A score given after the run was read is that run's, whoever's it is."""
    user = SimulatedUser("late", {"/query": SPEED}, Taste(rates=0.9, impatience=0.05))
    learner = PreferenceLearner(SALT)
    observed(learner, rounds(population(20, seed=10), 20))
    for run in rounds([user], 90):
        plain = type(run)(run.command, (), run.conversation_id, run.user_id, run.outcome)
        learner.observe(plain)
        learner.judge(run.trace_id, run.evaluations)
    learner.judge("nobody's", (Evaluation("feedback", 1.0),))
    learner.settle(START_NS)
    assert prefers(learner, user) == SPEED


def test_a_judges_score_is_no_users_taste():
    """Scores of other names than a user's own are not taken for satisfaction."""
    learner = PreferenceLearner(SALT)
    for run in rounds([SimulatedUser("judged")], 30):
        learner.observe(
            type(run)(run.command, (), run.conversation_id, run.user_id, evaluations=(Evaluation("accuracy", 0.1),))
        )
    learner.settle(START_NS)
    assert learner.profile(user_digest("judged", SALT), "/query", START_NS).evidence.rated == 0


def test_a_learner_goes_on_where_another_stood_and_holds_no_names():
    """Its state is plain data without a user's id, gives the same profiles, and means nothing under another salt."""
    users = population(12, seed=11, share=0.4)
    learner = PreferenceLearner(SALT)
    observed(learner, rounds(users, 60))
    learner.settle(START_NS)
    state = pickle.dumps(learner.state())
    assert not any(user.name.encode() + b"\x94" in state or repr(user.name).encode() in state for user in users)
    other, foreign = PreferenceLearner(SALT), PreferenceLearner("00" * 16)
    other.go_on(pickle.loads(state))
    foreign.go_on(pickle.loads(state))
    other.settle(START_NS)
    assert [prefers(other, user) for user in users] == [prefers(learner, user) for user in users]
    assert not list(foreign.users())


def test_memory_is_bounded():
    """Of users, and of each one's runs, only the latest are kept."""
    learner = PreferenceLearner(SALT)
    run = next(rounds([SimulatedUser("first")], 1))
    for number in range(MAX_USERS + 10):
        learner.observe(type(run)(run.command, (), "c", user_id=f"u{number}"))
    for _ in range(RUNS_KEPT + 5):
        learner.observe(type(run)(run.command, (), "c", user_id="last"))
    users = dict(learner.users())
    assert len(users) == MAX_USERS
    assert user_digest("u0", SALT) not in users
    assert len(users[user_digest("last", SALT)]) == RUNS_KEPT


def test_without_a_salt_nobody_is_told_apart():
    """Nothing is kept of anybody where there is no salt."""
    learner = PreferenceLearner("")
    observed(learner, rounds([SimulatedUser("x")], 5))
    assert not list(learner.users())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", ""]),
            st.sampled_from(["/x", "/y"]),
            st.floats(0, 1e6),
            st.one_of(st.none(), st.floats(-5, 5)),
            st.booleans(),
            st.floats(0, 2 * ASKED_AGAIN_S),
        ),
        max_size=120,
    )
)
def test_any_runs_are_learned_from_without_a_fault(runs):
    """Whatever runs say, each profile is one of the known kinds and its evidence finite."""
    learner, now_ns = PreferenceLearner(SALT), START_NS
    template = next(rounds([SimulatedUser("t")], 1))
    for user, command, seconds, score, stopped, pause in runs:
        step = type(template.command)(
            "t", "s", "", template.command.kind, command, template.command.target, now_ns, now_ns + int(seconds * 1e9)
        )
        outcome = "interrupted" if stopped else "completed"
        evaluations = () if score is None else (Evaluation("feedback", score),)
        learner.observe(type(template)(step, (), "c", user, type(template.outcome)(outcome), evaluations=evaluations))
        now_ns = step.end_ns + int(pause * 1e9)
    learner.settle(now_ns)
    for user in ("a", "b"):
        profile = learner.profile(user_digest(user, SALT), "/x", now_ns)
        assert profile.basis in {BEHAVIOUR, NONE_SHOWN, TOO_LITTLE}
        assert abs(profile.evidence.speed) < 1e4
        assert abs(profile.evidence.quality) < 1e4
