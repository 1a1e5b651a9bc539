"""What the controller learns of people, tells agents, and takes back for some of them."""

from __future__ import annotations

import json
import random
import stat

import pytest
from simulated_fleet import SECOND, START_NS

from otel_perfopt import conventions as c
from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision
from otel_perfopt.decide.personalization import MAX_USERS, Personalization
from otel_perfopt.decide.segment_stand_down import STAND_DOWN_EVENT
from otel_perfopt.decide.user_salt import SALT_FILE, make_user_salt, user_salt
from otel_perfopt.loop.controller import Controller
from otel_perfopt.loop.people import People
from otel_perfopt.loop.segment_watch import Segment, stand_downs
from otel_perfopt.signal.user_digest import user_digest
from otel_perfopt.verify.verdict import Conclusion, MetricResult, Verdict

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {{name: think-less, author: somebody}}
spec:
  match: {match}
  optimize: {{type: effort_routing, with: {{effort: low}}}}
  rollout:
    warmup: 0s
    steps: [{{treatment: 50%, baseline: 50%}}]
    limits: {{minUnits: 5000, maxUnits: 8000}}
  goal: {{metric: latency, improve: 10%}}
  guardrails: [{{metric: task_failure, maxIncrease: 10pp}}]
"""


class Fleet:
    """Writes one command a conversation, in the arm that the snapshot gives it, with its user's preference and score."""

    def __init__(self, home, match="{command: /query}"):
        self.home, self.now_ns, self.count = home, START_NS, 0
        self.random = random.Random(7)
        (home / "telemetry").mkdir()
        (home / "policies").mkdir()
        (home / "policies" / "think-less.yaml").write_text(POLICY.format(match=match))

    def clock(self):
        return self.now_ns

    def snapshot(self):
        return json.loads((self.home / "snapshot.json").read_text())

    def run(self, user, seconds, *, score=None, prefers="", arm="", decision=None, interrupted=False):
        self.count += 1
        attributes = {
            c.STEP_KIND: "command",
            c.COMMAND_NAME: "/query",
            c.GEN_AI_CONVERSATION_ID: f"c{self.count}",
            c.USER_ID: user,
            c.COMMAND_OUTCOME: "interrupted" if interrupted else "completed",
        }
        if prefers:
            attributes |= {c.PREFERENCE: prefers, c.PREFERENCE_SOURCE: "stated"}
        if decision is not None:
            told = {"arm": arm, "digest": decision["digest"], "stage": decision["stage"], "allocation": 0.5}
            attributes |= {c.policy_attribute("think-less", name): value for name, value in told.items()}
        self._write(attributes, seconds, score)
        self.now_ns += int((seconds + 600) * SECOND)

    def _write(self, attributes, seconds, score):
        said = {c.GEN_AI_EVALUATION_NAME: "feedback", c.GEN_AI_EVALUATION_SCORE_VALUE: score}
        event = {
            "name": c.GEN_AI_EVALUATION_RESULT_EVENT,
            "timeUnixNano": str(self.now_ns + SECOND),
            "attributes": _pairs(said),
        }
        span = {
            "traceId": f"{self.count:032x}",
            "spanId": f"{self.count:016x}",
            "name": "/query",
            "startTimeUnixNano": str(self.now_ns),
            "endTimeUnixNano": str(self.now_ns + int(seconds * SECOND)),
            "attributes": _pairs(attributes),
            "events": [] if score is None else [event],
        }
        scope = {"scope": {"name": c.INSTRUMENTATION_SCOPE}, "spans": [span]}
        line = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}
        with (self.home / "telemetry" / "agent.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def behave(self, user, runs, *, likes_speed):
        """A user who interrupts slow answers and likes quick ones, or one who does neither."""
        for _ in range(runs):
            slow = self.random.random() < 0.5
            seconds = self.random.uniform(6, 9) if slow else self.random.uniform(1, 3)
            stops = likes_speed and slow and self.random.random() < 0.5
            score = None if stops else (0.9 if not slow else 0.3) if likes_speed else self.random.choice((0.6, 0.8))
            self.run(user, seconds, score=score, interrupted=stops)


def _pairs(values):
    return [
        {"key": key, "value": {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}}
        for key, value in values.items()
    ]


def exposed(fleet):
    """A controller whose policy has been approved and is in canary."""
    controller = Controller(fleet.home, fleet.clock)
    controller.turn()
    controller.policies.approve("think-less", "a-second-person", "looked at it", fleet.now_ns, "canary")
    for _ in range(3):
        fleet.now_ns += 60 * SECOND
        controller.turn()
    return controller


def test_learned_preferences_are_published_by_digest_where_a_policy_asks(tmp_path):
    """The one who behaves so is in the table, the other is not, and no file holds a name."""
    fleet = Fleet(tmp_path, "{command: /query, preference: speed}")
    controller = exposed(fleet)
    for _ in range(12):
        fleet.behave("hurry@example.org", 6, likes_speed=True)
        for other in range(4):
            fleet.behave(f"calm-{other}@example.org", 2, likes_speed=False)
        controller.turn()
    people = fleet.snapshot()["personalization"]
    salt = user_salt(tmp_path)
    assert people["salt"] == salt
    assert people["users"] == {user_digest("hurry@example.org", salt): "speed"}
    assert people["commands"] == {}
    for name in ("snapshot.json", "ledger.jsonl", SALT_FILE):
        assert "example.org" not in (tmp_path / name).read_text()
    again = Controller(tmp_path, fleet.clock)
    again.turn()
    assert "speed" in fleet.snapshot()["personalization"]["users"].values()


def test_what_was_learned_survives_the_controller(tmp_path):
    """A controller that comes after one that saved goes on with its users, without their telemetry."""
    fleet = Fleet(tmp_path, "{command: /query, preference: speed}")
    controller = exposed(fleet)
    for _ in range(8):
        fleet.behave("hurry", 9, likes_speed=True)
        fleet.behave("calm", 9, likes_speed=False)
    controller.turn()
    assert controller.observatory.save()
    (tmp_path / "telemetry" / "agent.jsonl").unlink()
    after = Controller(tmp_path, fleet.clock)
    after.turn()
    assert fleet.snapshot()["personalization"]["users"] == {user_digest("hurry", user_salt(tmp_path)): "speed"}


def test_nothing_is_told_of_people_where_no_policy_asks(tmp_path):
    """A policy for everybody needs no table, and gets none."""
    fleet = Fleet(tmp_path)
    controller = exposed(fleet)
    fleet.behave("hurry", 60, likes_speed=True)
    controller.turn()
    assert fleet.snapshot()["decisions"]
    assert fleet.snapshot()["personalization"] == {"salt": "", "users": {}, "user_commands": {}, "commands": {}}


def test_a_policy_stands_down_for_those_whom_it_makes_less_satisfied(tmp_path):
    """One that pleases who prefers speed and displeases who prefers quality goes on for the former only."""
    fleet = Fleet(tmp_path)
    controller = exposed(fleet)
    (decision,) = fleet.snapshot()["decisions"]
    for number in range(600):
        treated = fleet.random.random() < 0.5
        word = ("speed", "quality")[number % 2]
        better = treated == (word == "speed")
        score = min(1.0, max(0.0, fleet.random.gauss(0.8 if better else 0.5, 0.15)))
        arm = "treatment" if treated else "baseline"
        fleet.run(f"u{number}", 2.0, score=score, prefers=word, arm=arm, decision=decision)
    controller.turn()
    (narrowed,) = fleet.snapshot()["decisions"]
    assert narrowed["exclude"]["preference"] == ["quality"]
    (told,) = [entry for entry in controller.policies.ledger.entries if entry.event == STAND_DOWN_EVENT]
    assert told.details["preference"] == "quality"
    assert narrowed["digest"] == decision["digest"], "what was approved is the same"
    fleet.now_ns += 120 * SECOND
    controller.turn()
    assert sum(entry.event == STAND_DOWN_EVENT for entry in controller.policies.ledger.entries) == 1
    again = Controller(tmp_path, fleet.clock)
    again.turn()
    assert fleet.snapshot()["decisions"][0]["exclude"]["preference"] == ["quality"]


def test_a_policy_that_changes_nothing_stands_down_for_nobody(tmp_path):
    """Without an effect on satisfaction no segment is taken out, however often one looks."""
    fleet = Fleet(tmp_path)
    controller = exposed(fleet)
    (decision,) = fleet.snapshot()["decisions"]
    for number in range(600):
        arm = fleet.random.choice(("treatment", "baseline"))
        score = min(1.0, max(0.0, fleet.random.gauss(0.6, 0.2)))
        fleet.run(f"u{number}", 2.0, score=score, prefers=("speed", "quality")[number % 2], arm=arm, decision=decision)
        if number % 50 == 49:
            controller.turn()
    assert fleet.snapshot()["decisions"][0]["exclude"]["preference"] == []


def segment(policy, preference, low, high, optimization="effort_routing"):
    decision = Decision(policy, f"d-{policy}", optimization, "active", Allocation(0.95, 0.05))
    effect = Interval((low + high) / 2, low, high)
    metric = MetricResult("satisfaction", "goal", Conclusion.WAITING, "", effect=effect)
    return Segment(decision, preference, Verdict(decision, Conclusion.WAITING, "", 500, 500, (metric,)))


def test_of_two_variants_the_one_surely_liked_less_stands_down_for_those_people():
    """Intervals that overlap decide nothing; nor do variants of another kind, or what others like."""
    low, high = segment("low", "speed", 0.02, 0.08), segment("minimal", "speed", 0.10, 0.20)
    unsure = segment("other", "speed", 0.05, 0.15)
    elsewhere = segment("far", "quality", -0.3, -0.1)
    routed = segment("model", "speed", -0.3, -0.1, "model_routing")
    held = {(one.decision.policy, one.decision.digest): (one,) for one in (low, high, unsure, elsewhere, routed)}
    (told,) = stand_downs(held, {}, 1)
    assert (told.policy, told.digest, told.details["preference"]) == ("low", "d-low", "speed")
    assert "minimal" in told.reason
    assert stand_downs(held, {("low", "d-low"): ("speed",)}, 1) == []


def test_satisfaction_is_kept_by_preference_and_arm(tmp_path):
    """What the ledger keeps of a trial says how those who prefer speed felt in each arm."""
    fleet = Fleet(tmp_path)
    controller = exposed(fleet)
    (decision,) = fleet.snapshot()["decisions"]
    for number in range(40):
        arm = ("treatment", "baseline")[number % 2]
        fleet.run(
            f"u{number}", 2.0, score=0.75 if arm == "treatment" else 0.5, prefers="speed", arm=arm, decision=decision
        )
    fleet.now_ns += 15 * 86_400 * SECOND
    controller.turn()
    outcomes = [entry.details["outcome"] for entry in controller.policies.ledger.entries if "outcome" in entry.details]
    told = [outcome["user_impact"]["prefers speed"] for outcome in outcomes if "user_impact" in outcome]
    assert told[0]["treatment"]["satisfaction"] == pytest.approx(0.75)
    assert told[0]["baseline"]["satisfaction"] == pytest.approx(0.5)


def test_the_salt_is_drawn_once_and_is_nobodys_business(tmp_path):
    """It stays the same, only its owner may read it, and a damaged one tells nobody apart."""
    salt = make_user_salt(tmp_path)
    assert make_user_salt(tmp_path) == user_salt(tmp_path) == salt
    assert stat.S_IMODE((tmp_path / SALT_FILE).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [SALT_FILE]
    (tmp_path / SALT_FILE).write_text("not a salt")
    assert user_salt(tmp_path) == ""
    people = People(tmp_path)
    assert people.table(START_NS) == Personalization()
    assert people.problem == ""


def test_a_folder_that_cannot_be_written_learns_nothing_and_says_so(tmp_path):
    """No salt, no users; the controller goes on, and the problem is told."""
    fleet = Fleet(tmp_path, "{command: /query, preference: speed}")
    (tmp_path / SALT_FILE).mkdir()
    controller = exposed(fleet)
    fleet.behave("hurry", 3, likes_speed=True)
    turn = controller.turn()
    assert turn.snapshot is not None
    assert fleet.snapshot()["personalization"]["users"] == {}


def test_what_a_snapshot_says_of_people_is_bounded_and_read_with_care():
    """Whatever stands there, only digests and known words are taken over, up to the limit."""
    digest = "0123456789abcdef"
    read = Personalization.read(
        {
            "salt": 7,
            "users": {digest: "speed", "somebody": "speed", "f" * 16: "chaos", "e" * 16: 3},
            "user_commands": {digest: {"/query": "none", "/x": "??"}, "somebody": {"/query": "speed"}, "d" * 16: []},
            "commands": "no",
        }
    )
    assert read == Personalization("", {digest: "speed"}, {digest: {"/query": "none"}}, {})
    assert read.learned(digest, "/query") == ""
    assert read.learned(digest, "/other") == "speed"
    assert Personalization.read(None) == Personalization.read([1]) == Personalization()
    many = {f"{number:016x}": "speed" for number in range(MAX_USERS + 5)}
    assert len(Personalization.read({"users": many}).users) == MAX_USERS
