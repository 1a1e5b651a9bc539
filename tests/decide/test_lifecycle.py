"""The life cycle's single steps: each row of the table, when it is taken and when not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otel_perfopt.decide.approval import Approval
from otel_perfopt.decide.lifecycle import PERSON, SYSTEM, TABLE, next_transition, pending_gate, requested_transition
from otel_perfopt.decide.observation import Extension, Inputs, Observation, ShadowReport
from otel_perfopt.decide.state import EXPOSED, PausedTrial, PolicyState, Rest, State, after_entry
from otel_perfopt.errors import TransitionError

NOW_NS = 1_795_000_000_000_000_000
HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS


def state(value: State, **changes) -> PolicyState:
    is_exposed = value in EXPOSED
    base = PolicyState("p", value, "d1", step=int(value is State.CANARY), since_ns=NOW_NS)
    return replace(base, **{"exposed_ns": NOW_NS if is_exposed else 0, **changes})


def inputs(now_ns: int = NOW_NS, digest: str = "d1", **changes) -> Inputs:
    outer = {key: changes.pop(key) for key in ("violations", "killed", "killed_alone") if key in changes}
    return Inputs(now_ns, digest, Observation(**changes), **outer)


def yes(gate: str, expires_ns: int = NOW_NS + DAY_NS) -> Approval:
    return Approval("p", "d1", gate, "alice", NOW_NS, expires_ns)


CLEAN = ShadowReport(calls=50)
PAUSED = PausedTrial(2, NOW_NS - 14 * DAY_NS, NOW_NS, units=3000)
LIVE = {"when": {"live": {"measure": "tool_latency_p95", "above": "2s"}}}
LIVE_SHADOW_GATED = {**LIVE, "approval": {"gates": ["shadow", "canary", "active"]}}
TWO_STEPS = {"steps": [{"treatment": "5%", "baseline": "5%"}, {"treatment": "50%", "baseline": "50%"}]}

STEPS = [
    # what holds, spec, state, inputs, where it goes (None: it stays)
    ("declared", {}, state(State.NEW, digest=""), inputs(), State.PROPOSED),
    ("declared with a condition", {"when": {"finding": "trend"}}, state(State.NEW, digest=""), inputs(), State.DORMANT),
    ("condition unknown", {"when": {"finding": "trend"}}, state(State.DORMANT), inputs(), None),
    ("condition not met", {"when": {"finding": "trend"}}, state(State.DORMANT), inputs(when_met=False), None),
    ("condition met", {"when": {"finding": "trend"}}, state(State.DORMANT), inputs(when_met=True), State.PROPOSED),
    ("condition gone", {"when": {"finding": "trend"}}, state(State.ACTIVE), inputs(when_met=False), State.DORMANT),
    ("no analysis", {"when": {"finding": "trend"}}, state(State.ACTIVE), inputs(when_met=None), None),
    ("checks pass", {}, state(State.PROPOSED), inputs(), State.AWAITING),
    ("disabled", {"mode": "disabled"}, state(State.PROPOSED), inputs(), None),
    ("forbidden", {}, state(State.PROPOSED), inputs(violations=("no",)), None),
    ("quarantined", {}, state(State.PROPOSED, quarantine={"d1": 0}), inputs(), None),
    ("shadow is free", {}, state(State.AWAITING), inputs(), State.SHADOW),
    ("shadow gated", {"approval": {"gates": ["shadow", "canary"]}}, state(State.AWAITING), inputs(), None),
    ("extended, nobody said yes", {}, state(State.AWAITING, trial=PAUSED), inputs(), None),
    ("extended, yes expired", {}, state(State.AWAITING, trial=PAUSED, approvals=(yes("canary", NOW_NS),)), inputs(), None),
    ("extended", {}, state(State.AWAITING, trial=PAUSED, approvals=(yes("canary"),)), inputs(), State.CANARY),
    ("forbidden while waiting", {}, state(State.AWAITING), inputs(violations=("no",)), State.PROPOSED),
    ("no shadow, no approval", {"rollout": TWO_STEPS}, state(State.AWAITING), inputs(), None),
    ("no shadow", {"rollout": TWO_STEPS}, state(State.AWAITING, approvals=(yes("canary"),)), inputs(), State.CANARY),
    ("shadow too short", {}, state(State.SHADOW, approvals=(yes("canary"),)), inputs(shadow=CLEAN), None),
    ("shadow unseen", {}, state(State.SHADOW, since_ns=0, approvals=(yes("canary"),)), inputs(), None),
    ("shadow empty", {}, state(State.SHADOW, since_ns=0, approvals=(yes("canary"),)), inputs(shadow=ShadowReport(0)), None),
    ("shadow, nobody said yes", {}, state(State.SHADOW, since_ns=0), inputs(shadow=CLEAN), None),
    ("yes to the other gate", {}, state(State.SHADOW, since_ns=0, approvals=(yes("active"),)), inputs(shadow=CLEAN), None),
    ("yes expired", {}, state(State.SHADOW, since_ns=0, approvals=(yes("canary", NOW_NS),)), inputs(shadow=CLEAN), None),
    ("shadow clean", {}, state(State.SHADOW, since_ns=0, approvals=(yes("canary"),)), inputs(shadow=CLEAN), State.CANARY),
    ("shadow is the ceiling", {"mode": "shadow"}, state(State.SHADOW, since_ns=0, approvals=(yes("canary"),)), inputs(shadow=CLEAN), None),
    ("shadow wrong", {}, state(State.SHADOW), inputs(shadow=ShadowReport(50, wrong_results=1)), State.ROLLED_BACK),
    ("shadow raised", {}, state(State.SHADOW), inputs(shadow=ShadowReport(50, faults=1)), State.ROLLED_BACK),
    ("no data", {}, state(State.CANARY), inputs(), None),
    ("too few units", {}, state(State.CANARY), inputs(stage_units=99), None),
    ("enough units", {}, state(State.CANARY), inputs(stage_units=100), State.CANARY),
    ("mismatch", {}, state(State.CANARY), inputs(stage_units=100, mismatch=True), None),
    ("better, but small step", {}, state(State.CANARY, approvals=(yes("active"),)), inputs(conclusion="better"), None),
    ("better, nobody said yes", {}, state(State.CANARY, step=2), inputs(conclusion="better"), None),
    ("better", {}, state(State.CANARY, step=2, approvals=(yes("active"),)), inputs(conclusion="better"), State.ACTIVE),
    ("better, mismatch", {}, state(State.CANARY, step=2, approvals=(yes("active"),)), inputs(conclusion="better", mismatch=True), None),
    ("canary is the ceiling", {"mode": "canary"}, state(State.CANARY, step=2, approvals=(yes("active"),)), inputs(conclusion="better"), None),
    ("worse", {}, state(State.CANARY), inputs(conclusion="worse", stage_units=500), State.ROLLED_BACK),
    ("worse when active", {}, state(State.ACTIVE), inputs(conclusion="worse"), State.ROLLED_BACK),
    ("raised", {}, state(State.ACTIVE), inputs(faults=3), State.ROLLED_BACK),
    ("boundary tightened", {}, state(State.ACTIVE), inputs(violations=("no",)), State.ROLLED_BACK),
    ("all units used", {}, state(State.CANARY, step=2), inputs(conclusion="waiting", total_units=8000), State.INCONCLUSIVE),
    ("time is up", {}, state(State.CANARY, step=2, exposed_ns=NOW_NS - 14 * DAY_NS), inputs(conclusion="waiting"), State.INCONCLUSIVE),
    ("time is up, nobody looked", {}, state(State.CANARY, step=2, exposed_ns=NOW_NS - 14 * DAY_NS), inputs(), None),
    ("inconclusive", {}, state(State.CANARY, step=2), inputs(conclusion="inconclusive"), State.INCONCLUSIVE),
    ("better waits past the limit", {}, state(State.CANARY, step=2), inputs(conclusion="better", total_units=9000), None),
    ("extended units", {}, state(State.CANARY, step=2, trial=replace(PAUSED, more_units=500)), inputs(conclusion="waiting", total_units=8400), None),
    ("extended units used", {}, state(State.CANARY, step=2, trial=replace(PAUSED, more_units=500)), inputs(conclusion="waiting", total_units=8500), State.INCONCLUSIVE),
    ("hold", {"rollout": {"onInconclusive": "hold"}}, state(State.CANARY, step=2), inputs(conclusion="waiting", total_units=9000), None),
    ("active goes on", {}, state(State.ACTIVE), inputs(conclusion="inconclusive", total_units=9000), None),
    ("benefit lost", {}, state(State.ACTIVE), inputs(lost_benefit=True), State.RETIRED),
    ("expired", {"expires": "1d"}, state(State.ACTIVE, since_ns=NOW_NS - DAY_NS), inputs(), State.RETIRED),
    ("edited", {}, state(State.ACTIVE), inputs(digest="d2"), State.PROPOSED),
    ("edited while over", {}, state(State.ROLLED_BACK), inputs(digest="d2"), State.PROPOSED),
    ("harm and an edit at once", {}, state(State.ACTIVE), inputs(digest="d2", conclusion="worse"), State.ROLLED_BACK),
    ("file gone", {}, state(State.ACTIVE), inputs(digest=""), State.RETIRED),
    ("file stays gone", {}, state(State.RETIRED, digest=""), inputs(digest=""), None),
    ("file is back", {}, state(State.RETIRED, digest=""), inputs(), State.PROPOSED),
    ("everything off", {}, state(State.ACTIVE), inputs(killed=True, conclusion="better"), State.KILLED),
    ("this one off", {}, state(State.CANARY), inputs(killed_alone=True), State.KILLED),
    ("killed stays killed", {}, state(State.KILLED), inputs(digest="d2", when_met=True), None),
    ("asleep in shadow", LIVE, state(State.SHADOW), inputs(when_met=False), State.DORMANT),
    ("back in shadow", LIVE, state(State.DORMANT, rest=Rest(State.SHADOW, 0, 0)), inputs(when_met=True), State.SHADOW),
    ("back in shadow, gated", LIVE_SHADOW_GATED, state(State.DORMANT, rest=Rest(State.SHADOW, 0, 0)), inputs(when_met=True), State.PROPOSED),
    ("shadow slept in between", LIVE, state(State.SHADOW, awake_s=0.0, since_ns=NOW_NS - HOUR_NS, approvals=(yes("canary"),)), inputs(shadow=CLEAN), None),
    ("shadow was awake long enough", LIVE, state(State.SHADOW, awake_s=86400.0, since_ns=NOW_NS - HOUR_NS, approvals=(yes("canary"),)), inputs(shadow=CLEAN), State.CANARY),
    ("asleep in canary", LIVE, state(State.CANARY), inputs(when_met=False), State.DORMANT),
    ("sleeps on", LIVE, state(State.DORMANT, rest=Rest(State.CANARY, 1, 1), approvals=(yes("canary"),)), inputs(), None),
    ("back in canary", LIVE, state(State.DORMANT, rest=Rest(State.CANARY, 1, 1), approvals=(yes("canary"),)), inputs(when_met=True), State.CANARY),
    ("back, but the yes expired", LIVE, state(State.DORMANT, rest=Rest(State.CANARY, 1, 1), approvals=(yes("canary", NOW_NS),)), inputs(when_met=True), State.PROPOSED),
    ("back, but forbidden", LIVE, state(State.DORMANT, rest=Rest(State.CANARY, 1, 1), approvals=(yes("canary"),)), inputs(when_met=True, violations=("no",)), State.PROPOSED),
    ("back in active", LIVE, state(State.DORMANT, rest=Rest(State.ACTIVE, 0, 1), approvals=(yes("active"),)), inputs(when_met=True), State.ACTIVE),
    ("back in active, nobody said yes", LIVE, state(State.DORMANT, rest=Rest(State.ACTIVE, 0, 1)), inputs(when_met=True), State.PROPOSED),
    ("back, but everything is off", LIVE, state(State.DORMANT, rest=Rest(State.ACTIVE, 0, 1), approvals=(yes("active"),)), inputs(when_met=True, killed=True), State.KILLED),
    ("edited in its sleep", LIVE, state(State.DORMANT, rest=Rest(State.ACTIVE, 0, 1), approvals=(yes("active"),)), inputs(when_met=True, digest="d2"), State.PROPOSED),
    ("time asleep is no exposure", LIVE, state(State.CANARY, step=2, exposed_ns=NOW_NS - 14 * DAY_NS, slept_s=86400.0), inputs(conclusion="waiting"), None),
    ("taken back stays back", {}, state(State.ROLLED_BACK), inputs(conclusion="better"), None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "before", "given", "after"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS]
)
def test_what_happens_by_itself(policy, spec, before, given, after):
    """Each situation leads to the one state it should, and no data never leads anywhere."""
    step = next_transition(policy(**spec), before, given)
    assert (step and step.to_state) == after
    if step is not None:
        assert step.from_state is before.state
        assert step.actor == SYSTEM
        assert step.reason


def test_every_rule_is_shown_above():
    """No row of the table that the system takes lacks a situation in which it is taken."""
    taken = {(row[2].state, row[4]) for row in STEPS if row[4] is not None}
    shown = [any((source, rule.target) in taken for source in rule.sources) for rule in TABLE if rule.who == SYSTEM]
    assert all(shown)


@pytest.mark.parametrize("value", list(State))
def test_the_way_back_is_open_from_every_exposed_state(policy, value):
    """An operator takes back or kills whatever is exposed, whatever else is the case, without approval."""
    given = inputs(digest="d2", violations=("no",), conclusion="better", mismatch=True)
    events = {"kill": set(State) - {State.KILLED}, "rollback": EXPOSED | {State.SHADOW}}
    for event, possible in events.items():
        if value in possible:
            step = requested_transition(policy(), state(value), given, event=event, actor="anyone")
            assert not step.exposes
        else:
            with pytest.raises(TransitionError, match=f"is {value}"):
                requested_transition(policy(), state(value), given, event=event, actor="anyone")


def test_no_person_can_expose_anything_directly():
    """Every row a person may take ends where nobody is treated."""
    assert not [rule for rule in TABLE if rule.who == PERSON and rule.target in EXPOSED]


def test_a_rollback_cools_down_and_a_boundary_does_not(policy):
    """Harm keeps the digest away for the cool-down; what a boundary stopped may be tried again at once."""
    harmed = next_transition(policy(), state(State.ACTIVE), inputs(conclusion="worse"))
    stopped = next_transition(policy(), state(State.ACTIVE), inputs(violations=("no",)))
    assert int(harmed.details["until_ns"]) == NOW_NS + 7 * DAY_NS
    assert int(stopped.details["until_ns"]) == NOW_NS


@pytest.mark.parametrize(
    ("before", "reason", "digest", "message"),
    [
        (state(State.ROLLED_BACK, quarantine={"d1": NOW_NS + HOUR_NS}), "again", "d1", "cools down for another 1h"),
        (state(State.ROLLED_BACK, quarantine={"d1": NOW_NS}), "  ", "d1", "say why"),
        (state(State.ROLLED_BACK, quarantine={"d1": NOW_NS}), "again", "", "file of p is gone"),
        (state(State.PROPOSED), "again", "d1", "nothing to try again"),
        (state(State.ACTIVE), "again", "d1", "it can: rollback, retire, kill"),
    ],
)
def test_retry_is_refused_with_the_reason(policy, before, reason, digest, message):
    """Trying again needs a reason, a file, a state that is over, and the cool-down behind it."""
    with pytest.raises(TransitionError, match=message):
        requested_transition(policy(), before, inputs(digest=digest), event="retry", actor="alice", reason=reason)


def test_retry_after_the_cool_down(policy):
    """After the cool-down a person proposes the same digest again, and it leaves quarantine."""
    before = state(State.ROLLED_BACK, quarantine={"d1": NOW_NS})
    step = requested_transition(policy(), before, inputs(), event="retry", actor="alice", reason="fixed the tool")
    assert step.to_state is State.PROPOSED


def test_one_policy_does_not_return_while_everything_is_off(policy):
    """Switching one on while everything is off is refused."""
    with pytest.raises(TransitionError, match="everything"):
        requested_transition(policy(), state(State.KILLED), inputs(killed=True), event="unkill", actor="alice")


@pytest.mark.parametrize(
    ("spec", "before", "gate"),
    [
        ({}, state(State.AWAITING), "canary"),
        ({"approval": {"gates": ["shadow", "canary"]}}, state(State.AWAITING, trial=PAUSED), "canary"),
        ({"approval": {"gates": ["shadow", "canary"]}}, state(State.AWAITING), "shadow"),
        ({"rollout": TWO_STEPS, "approval": {"gates": ["shadow", "canary"]}}, state(State.AWAITING), "canary"),
        ({}, state(State.AWAITING, approvals=(yes("canary"),)), None),
        ({"mode": "shadow"}, state(State.AWAITING), None),
        ({}, state(State.SHADOW), "canary"),
        ({}, state(State.CANARY), "active"),
        ({"mode": "canary"}, state(State.CANARY), None),
        ({"approval": "auto"}, state(State.CANARY), None),
        ({}, state(State.ACTIVE), None),
        ({}, state(State.PROPOSED), None),
    ],
)
def test_the_gate_that_waits(policy, spec, before, gate):
    """The gate a person is asked about is the next one that needs a yes and has none."""
    assert pending_gate(policy(**spec), before, NOW_NS) == gate


def walk(before: PolicyState, *steps) -> PolicyState:
    """Return the state after each (time, step) was written to the ledger."""
    after = before
    for now_ns, step in steps:
        after = after_entry(after, step(after, now_ns).entry(now_ns))
    return after


def test_an_extended_trial_goes_on_with_its_units_and_time_it_stood_still_is_not_counted(policy):
    """From the limit through a person's extension and a new approval back to the same step, as one trial."""
    made = policy(rollout=TWO_STEPS)

    def end(at, now_ns):
        return next_transition(made, at, inputs(now_ns, conclusion="waiting", total_units=8000))

    def extend(at, now_ns):
        added = Extension(units=2000, duration_s=86400.0)
        return requested_transition(
            made, at, inputs(now_ns), event="extend", actor="carol", reason="slow week", extension=added
        )

    def resume(at, now_ns):
        return next_transition(made, replace(at, approvals=(yes("canary", now_ns + 1),)), inputs(now_ns))

    began = NOW_NS - 13 * DAY_NS
    canary = state(State.CANARY, step=2, exposed_ns=began, approvals=(yes("canary"), yes("active")))
    ended = walk(canary, (NOW_NS, end))
    assert (ended.state, ended.exposed_ns, ended.approvals) == (State.INCONCLUSIVE, 0, ())
    waiting = walk(ended, (NOW_NS + DAY_NS, extend))
    assert waiting.state is State.AWAITING
    assert next_transition(made, waiting, inputs(NOW_NS + DAY_NS)) is None
    again = walk(waiting, (NOW_NS + 5 * DAY_NS, resume))
    assert (again.state, again.step, again.exposed_ns) == (State.CANARY, 2, began)
    # 13 days of exposure before it stood still for 5; the limit is now 14 + 1.
    later = NOW_NS + 5 * DAY_NS + 47 * HOUR_NS
    assert next_transition(made, again, inputs(later, conclusion="waiting", total_units=9999)) is None
    over = next_transition(made, again, inputs(later + 2 * HOUR_NS, conclusion="waiting", total_units=9999))
    assert over.to_state is State.INCONCLUSIVE
    assert next_transition(made, again, inputs(later, conclusion="waiting", total_units=10_000)).event == "end"


@pytest.mark.parametrize(
    ("added", "changes", "message"),
    [
        (Extension(units=10), {"reason": " "}, "say why"),
        (Extension(units=10), {"digest": "d2"}, "edited or removed"),
        (Extension(), {}, "by how much"),
        (Extension(units=-5, duration_s=60.0), {}, "by how much"),
        (Extension(duration_s=60.0), {"units": 8000}, "needs --units"),
        (Extension(units=10), {"days": 14}, "needs --duration"),
    ],
)
def test_an_extension_is_refused_with_the_reason(policy, added, changes, message):
    """Going on needs a reason, the same declaration, and limits that leave something to compare."""
    trial = PausedTrial(2, NOW_NS - changes.get("days", 1) * DAY_NS, NOW_NS, changes.get("units", 3000))
    given = inputs(digest=changes.get("digest", "d1"))
    with pytest.raises(TransitionError, match=message):
        requested_transition(
            policy(),
            state(State.INCONCLUSIVE, trial=trial),
            given,
            event="extend",
            actor="carol",
            reason=changes.get("reason", "because"),
            extension=added,
        )


def test_an_edited_or_retried_policy_leaves_its_old_trial_behind(policy):
    """Only an extension keeps the units: an edit or another try starts anew."""
    paused = state(State.INCONCLUSIVE, trial=PAUSED)
    retried = requested_transition(policy(), paused, inputs(), event="retry", actor="alice", reason="again")
    assert after_entry(paused, retried.entry(NOW_NS)).trial is None
    waiting = state(State.AWAITING, trial=PAUSED)
    edited = next_transition(policy(), waiting, inputs(digest="d2"))
    assert after_entry(waiting, edited.entry(NOW_NS)).trial is None


def test_what_was_measured_is_written_down_with_the_end(policy):
    """The comparison's result goes on the ledger wherever a roll-out ends by itself."""
    measured = {"effects": {"latency": {"estimate": -0.2}}}
    for before, seen in (
        (state(State.ACTIVE), {"conclusion": "worse"}),
        (state(State.ACTIVE), {"lost_benefit": True}),
        (state(State.CANARY, step=2), {"conclusion": "inconclusive"}),
        (state(State.CANARY, step=2, approvals=(yes("active"),)), {"conclusion": "better"}),
    ):
        step = next_transition(policy(), before, inputs(outcome=measured, **seen))
        assert step.details["outcome"] == measured, step.event
