"""A home folder end to end: files, people, ledger and snapshot agree, also after faults and restarts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.decide.observation import Observation
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.publish import publish, snapshot_of
from otel_perfopt.decide.state import State
from otel_perfopt.errors import LedgerError, PublishError, TransitionError

NOW = 1_795_000_000_000_000_000
DAY = 86_400 * 10**9
QUICK = "rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}], limits: {minUnits: 20}}\n"
BETTER = {"p": Observation("better", "latency 20 % less", stage_units=60, total_units=60)}
WORSE = {"p": Observation("worse", "failures doubled", stage_units=60, total_units=60)}


def where(policies: PolicySet, name: str = "p") -> State:
    return policies.status(name, NOW).state.state


@pytest.fixture
def canary(home: Path, declare) -> PolicySet:
    """Return a set whose one policy is in canary."""
    declare(spec=QUICK)
    policies = PolicySet.open(home, NOW)
    policies.approve("p", "alice", "fine", NOW)
    policies.advance({}, NOW)
    assert where(policies) is State.CANARY
    return policies


@pytest.fixture
def active(canary: PolicySet) -> PolicySet:
    """Return a set whose one policy is active."""
    canary.approve("p", "alice", "fine", NOW)
    canary.advance(BETTER, NOW)
    assert where(canary) is State.ACTIVE
    return canary


def test_from_a_file_to_the_hold_back(home: Path, declare):
    """Declared, asked, approved, compared, approved again and active with 5 % held back; the ledger tells it all."""
    declare(spec=QUICK)
    policies = PolicySet.open(home, NOW)
    status = policies.status("p", NOW)
    assert (status.state.state, status.pending_gate) == (State.AWAITING, "canary")
    assert publish(policies, NOW).decisions == ()
    policies.approve("p", "alice", "fine", NOW)
    policies.advance({}, NOW)
    (decision,) = publish(policies, NOW).decisions
    assert (decision.stage, decision.allocation.treatment, decision.unit) == ("canary-1", 0.5, "conversation")
    assert policies.advance(BETTER, NOW) == (), "better, but nobody said yes to active"
    policies.approve("p", "alice", "good", NOW)
    policies.advance(BETTER, NOW)
    (after,) = publish(policies, NOW).decisions
    assert (after.stage, after.allocation.treatment, after.allocation.baseline) == ("active", 0.95, 0.05)
    assert after.salt == decision.salt
    told = [(entry.event, entry.actor, entry.to_state) for entry in policies.ledger.entries]
    assert told == [
        ("declare", "perfopt", "proposed"),
        ("ask", "perfopt", "awaiting approval"),
        ("approve", "alice", ""),
        ("expose", "perfopt", "canary"),
        ("approve", "alice", ""),
        ("promote", "perfopt", "active"),
    ]
    assert PolicySet.open(home, NOW).status("p", NOW) == policies.status("p", NOW)


def test_arms_are_stable_while_a_stage_ramps(home: Path, declare):
    """Nobody in treatment at 5 % leaves it at 50 %, and nobody changes arms in between."""
    declare(spec="rollout: {steps: [{treatment: 5%, baseline: 5%}, {treatment: 50%, baseline: 50%}]}\n")
    policies = PolicySet.open(home, NOW)
    policies.approve("p", "alice", "", NOW)
    policies.advance({}, NOW)
    (small,) = snapshot_of(policies, NOW).decisions
    policies.advance({"p": Observation(stage_units=100)}, NOW)
    (large,) = snapshot_of(policies, NOW).decisions
    assert (small.stage, large.stage) == ("canary-1", "canary-2")
    units = [f"c{number}" for number in range(3000)]
    before = {unit: small.allocation.arm(small.salt, unit) for unit in units}
    after = {unit: large.allocation.arm(large.salt, unit) for unit in units}
    assert all(after[unit] == arm for unit, arm in before.items() if arm is not None)
    assert None not in after.values()


def test_shadow_is_listed_and_exposes_nobody(home: Path, declare):
    """In shadow the decision is there for agents to watch, with nobody in any arm."""
    declare()
    policies = PolicySet.open(home, NOW)
    (decision,) = snapshot_of(policies, NOW).decisions
    assert (decision.stage, decision.allocation.treatment, decision.allocation.baseline) == ("shadow", 0.0, 0.0)


def test_harm_takes_back_and_keeps_away(canary: PolicySet, home: Path):
    """Worse rolls back by itself; the same file stays out through restarts, a retry waits, and asks again."""
    canary.advance(WORSE, NOW)
    assert where(canary) is State.ROLLED_BACK
    assert publish(canary, NOW).decisions == ()
    again = PolicySet.open(home, NOW)
    again.advance(BETTER, NOW + DAY)
    assert where(again) is State.ROLLED_BACK
    with pytest.raises(TransitionError, match="cools down"):
        again.retry("p", "alice", "tool was fixed", NOW + DAY)
    again.retry("p", "alice", "tool was fixed", NOW + 7 * DAY)
    again.advance({}, NOW + 7 * DAY)
    assert where(again) is State.AWAITING, "the approvals from before the harm must not count"


def test_looking_at_the_files_ends_no_comparison(canary: PolicySet, home: Path):
    """Long past the limit, opening the folder (as every command does) leaves the verdict to who compares."""
    late = NOW + 30 * DAY
    again = PolicySet.open(home, late)
    assert where(again) is State.CANARY
    again.advance({"p": Observation("waiting", "too little traffic")}, late)
    assert where(again) is State.INCONCLUSIVE


def test_an_operator_takes_back_without_asking(active: PolicySet):
    """Anybody may roll back an active policy, the author too."""
    active.rollback("p", "bob", "I do not like it", NOW)
    assert where(active) is State.ROLLED_BACK


def test_an_edit_voids_and_takes_back(active: PolicySet, declare):
    """A changed file is out of the snapshot at once, before and after it is written down."""
    declare(spec=QUICK + "alpha: 0.01\n")
    active._catalog.reload()
    assert snapshot_of(active, NOW).decisions == ()
    active.reload(NOW)
    assert where(active) is State.AWAITING
    assert active.status("p", NOW).pending_gate == "canary"
    declare(spec=QUICK)
    active.reload(NOW)
    assert where(active) is State.AWAITING, "an edit taken back does not bring approvals back"


def test_comments_and_other_units_change_nothing(active: PolicySet, declare):
    """Formatting, comments and the same time in another unit leave the policy where it is."""
    path = declare(spec="# why\n" + QUICK.replace("warmup: 0s", "warmup: 0m") + "expires: null\n")
    path.write_text(path.read_text().replace("{tool: search}", "\n    tool:\n      - search"))
    assert active.reload(NOW) == ()
    assert where(active) is State.ACTIVE


def test_an_invalid_file_keeps_the_last_good_version(active: PolicySet, home: Path, declare):
    """A broken file changes nothing and says so, now and after a restart."""
    (home / "policies" / "p.yaml").write_text("spec: [\n")
    active.reload(NOW)
    for policies in (active, PolicySet.open(home, NOW)):
        assert where(policies) is State.ACTIVE
        assert len(snapshot_of(policies, NOW).decisions) == 1
        assert any("last good version stays in force: p" in str(problem) for problem in policies.problems)


def test_a_removed_file_ends_the_policy(active: PolicySet, home: Path, declare):
    """Removing the file retires; putting it back starts from the beginning, and asks again."""
    (home / "policies" / "p.yaml").unlink()
    active.reload(NOW)
    assert where(active) is State.RETIRED
    assert snapshot_of(active, NOW).decisions == ()
    declare(spec=QUICK)
    active.reload(NOW)
    assert where(active) is State.AWAITING


def test_a_moved_file_is_the_same_policy(active: PolicySet, home: Path):
    """The name is what counts, not the file."""
    (home / "policies" / "p.yaml").rename(home / "policies" / "other.yaml")
    assert active.reload(NOW) == ()


def test_a_copied_name_does_not_take_over(active: PolicySet, declare):
    """A second file with the same name is a problem; the first stays in force."""
    declare(spec="mode: disabled\n", file="a-copy.yaml")
    active.reload(NOW)
    assert where(active) is State.ACTIVE
    assert any("already the name" in str(problem) for problem in active.problems)


def test_the_author_may_not_approve(home: Path, declare):
    """Nobody approves what they wrote, unless the policy allows it; a wrong gate is refused too."""
    declare(spec=QUICK)
    declare("open", spec=QUICK + "approval: {allowSelf: true}\n")
    policies = PolicySet.open(home, NOW)
    with pytest.raises(TransitionError, match="wrote p"):
        policies.approve("p", "bob", "mine", NOW)
    with pytest.raises(TransitionError, match="gate active cannot be approved now"):
        policies.approve("p", "alice", "", NOW, gate="active")
    with pytest.raises(TransitionError, match="there is no policy 'q'"):
        policies.approve("q", "alice", "", NOW)
    policies.approve("open", "bob", "", NOW)


def test_groups_decide_who_may_approve(home: Path, declare):
    """Only members of the group may approve, as the file of groups says at that moment."""
    (home / "groups.yaml").write_text("oncall: [carol]\n")
    declare(spec=QUICK + "approval: {approvers: ['group:oncall', 'd*']}\n")
    policies = PolicySet.open(home, NOW)
    with pytest.raises(TransitionError, match="alice is not among the approvers"):
        policies.approve("p", "alice", "", NOW)
    policies.approve("p", "carol", "", NOW)
    (home / "groups.yaml").write_text("oncall: [\n")
    policies.reload(NOW)
    assert policies.problems


def test_boundaries_hold_now_and_later(active: PolicySet, home: Path):
    """A boundary that is tightened takes an active policy back; a broken one keeps the last good one."""
    boundary = "apiVersion: perfopt.dev/v1\nkind: SafetyBoundary\nmetadata: {name: b}\nspec: {tools: {deny: [%s]}}\n"
    (home / "boundary.yaml").write_text(boundary % "pay_*")
    active.reload(NOW)
    assert where(active) is State.ACTIVE
    assert snapshot_of(active, NOW).decisions[0].exclude.tool == ("pay_*",)
    (home / "boundary.yaml").write_text("spec: [\n")
    restarted = PolicySet.open(home, NOW)
    assert where(restarted) is State.ACTIVE
    assert restarted.problems
    (home / "boundary.yaml").write_text(boundary % "search")
    restarted.reload(NOW)
    assert where(restarted) is State.ROLLED_BACK
    assert "which is denied" in restarted.status("p", NOW).state.reason


def test_a_boundary_never_read_closes_everything(home: Path, declare):
    """When the only boundary cannot be read and none ever was, nothing is allowed."""
    (home / "boundary.yaml").write_text("spec: [\n")
    declare(spec=QUICK)
    policies = PolicySet.open(home, NOW)
    assert where(policies) is State.PROPOSED
    assert policies.status("p", NOW).violations


def test_kill_and_return(active: PolicySet, home: Path, declare):
    """Everything off is in the snapshot and the kill file at once, and only a person switches it on again."""
    active.kill(None, "carol", "incident", NOW)
    assert (home / "kill").exists()
    assert where(active) is State.KILLED
    snapshot = publish(active, NOW)
    assert (snapshot.killed, snapshot.decisions) == (True, ())
    (home / "kill").unlink()
    active.reload(NOW)
    assert where(active) is State.KILLED, "a lost kill file does not switch on"
    assert publish(active, NOW).killed
    active.unkill(None, "carol", "over", NOW)
    assert not publish(active, NOW).killed
    active.advance({}, NOW)
    assert where(active) is State.CANARY, "the approval stands, the comparison starts again"


def test_a_kill_file_made_by_hand_counts(active: PolicySet, home: Path):
    """Touching the file is enough, for everything or for one policy."""
    (home / "kill.d").mkdir()
    (home / "kill.d" / "p").touch()
    active.reload(NOW)
    assert where(active) is State.KILLED
    active.unkill("p", "alice", "", NOW)
    assert not (home / "kill.d" / "p").exists()
    (home / "kill").touch()
    active.reload(NOW)
    assert where(active) is State.KILLED
    assert active.ledger.entries[-2].actor == "kill file"


def test_killing_one_leaves_the_other(active: PolicySet, declare):
    """The switch for one policy does not touch another."""
    declare("q", spec=QUICK)
    active.reload(NOW)
    active.kill("q", "carol", "odd", NOW)
    assert (where(active), where(active, "q")) == (State.ACTIVE, State.KILLED)
    assert not active.killed


@pytest.fixture
def unwritable(active: PolicySet, monkeypatch) -> PolicySet:
    """Return an active policy whose ledger stands on a full disk (the write itself fails, as it would there)."""

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("otel_perfopt.decide.durable_file.os.pwrite", full)
    return active


def test_what_cannot_be_written_down_still_goes_back(unwritable: PolicySet, home: Path, monkeypatch):
    """On a full disk harm takes the policy out at once and the lease lapses; with room again it is written."""
    before = publish(unwritable, NOW)
    with pytest.raises(LedgerError, match="No space left"):
        unwritable.advance(WORSE, NOW + 10)
    assert where(unwritable) is State.ACTIVE
    snapshot = publish(unwritable, NOW + 10)
    assert (snapshot.decisions, snapshot.generated_at_ns) == ((), before.generated_at_ns)
    monkeypatch.undo()
    unwritable.advance({}, NOW + 20)
    assert where(unwritable) is State.ROLLED_BACK
    assert unwritable.status("p", NOW).state.reason == "failures doubled"
    assert publish(unwritable, NOW + 20).generated_at_ns == NOW + 20


def test_kill_works_on_a_full_disk(unwritable: PolicySet, home: Path):
    """The kill file is there although the ledger could not be written."""
    with pytest.raises(LedgerError):
        unwritable.kill(None, "carol", "incident", NOW)
    assert (home / "kill").exists()
    assert snapshot_of(unwritable, NOW).killed


def test_a_changed_ledger_stops_everything(active: PolicySet, home: Path):
    """A ledger that does not verify is not built upon, and the lease is not renewed."""
    publish(active, NOW)
    path = home / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"alice"', b'"carol"'))
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:3: its hash"):
        PolicySet.open(home, NOW)


def test_the_snapshot_is_replaced_whole(active: PolicySet, home: Path, monkeypatch):
    """Agents read the snapshot as it was published; a failed write leaves the one before and no litter."""
    written = publish(active, NOW)
    text = (home / "snapshot.json").read_text()
    read = Snapshot.from_json(text)
    assert json.loads(read.to_json()) == json.loads(written.to_json())
    assert dict(read.decisions[0].parameters)["ttl_s"] == 300
    assert (read.generation, read.expired(NOW + 61 * 10**9)) == (len(active.ledger.entries), True)

    def broken(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("otel_perfopt.decide.durable_file.os.fsync", broken)
    with pytest.raises(PublishError):
        publish(active, NOW + 1)
    assert (home / "snapshot.json").read_text() == text
    assert not list(home.glob(".snapshot*"))


CONTROLLER = """
import sys
from pathlib import Path
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.observation import Observation
now = int(sys.argv[2])
policies = PolicySet.open(Path(sys.argv[1]), now)
for turn in range(20):
    policies.reload(now + turn)
    policies.advance({"p": Observation("worse", stage_units=60)} if turn == 10 else {}, now + turn)
"""


def test_two_controllers_do_not_act_twice(canary: PolicySet, home: Path):
    """Two controllers on one folder roll back once, and the ledger stays one story."""
    both = [subprocess.Popen([sys.executable, "-c", CONTROLLER, str(home), str(NOW)]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    canary.reload(NOW)
    events = [entry.event for entry in canary.ledger.entries]
    assert events.count("rollback") == 1
    assert canary.ledger.verify().sequence == len(events)


def test_what_was_seen_of_one_step_moves_no_other(home: Path, declare):
    """When another controller took the step meanwhile, its units are not counted again for the next."""
    steps = "[{treatment: 5%, baseline: 5%}, {treatment: 20%, baseline: 20%}, {treatment: 50%, baseline: 50%}]"
    declare(spec=f"rollout: {{steps: {steps}}}\n")
    policies = PolicySet.open(home, NOW)
    policies.approve("p", "alice", "fine", NOW)
    policies.advance({}, NOW)
    seen = Observation("waiting", stage_units=500, since_ns=policies.status("p", NOW).state.since_ns)
    PolicySet.open(home, NOW).advance({"p": seen}, NOW + 1)
    policies.advance({"p": seen}, NOW + 2)
    assert policies.status("p", NOW).state.stage == "canary-2"


def test_switching_on_again_is_not_undone_by_a_controller_in_between(active: PolicySet, home: Path, monkeypatch):
    """A controller that looks while everything is switched on writes no other kill."""
    active.kill(None, "carol", "incident", NOW)
    write = active.journal.write

    def write_and_look(entry):
        write(entry)
        PolicySet.open(home, NOW)

    monkeypatch.setattr(active.journal, "write", write_and_look)
    active.unkill(None, "carol", "over", NOW)
    policies = PolicySet.open(home, NOW)
    assert not policies.killed
    assert where(policies) is not State.KILLED


def test_what_is_over_does_not_come_back_by_a_kill_of_everything(active: PolicySet, home: Path):
    """A retired policy is still retired after everything was switched off and on."""
    active.retire("p", "alice", "done with it", NOW)
    active.kill(None, "carol", "incident", NOW)
    assert where(active) is State.RETIRED
    active.unkill(None, "carol", "over", NOW)
    active.reload(NOW)
    assert where(active) is State.RETIRED


def test_a_kill_file_that_stays_keeps_it_off(active: PolicySet, monkeypatch):
    """Where the file cannot be removed the answer says so and nothing is switched on."""
    active.kill(None, "carol", "incident", NOW)

    def refuse(policy):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(active.switch, "switch_on", refuse)
    with pytest.raises(TransitionError, match="kill file"):
        active.unkill(None, "carol", "over", NOW)
    assert active.killed
