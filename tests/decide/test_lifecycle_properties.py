"""Whatever happens in whatever order: exposure has its approvals, the way back is open, edits void."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_perfopt.decide.approval import give_approval
from otel_perfopt.decide.boundary import SafetyBoundary, violations
from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.lifecycle import (
    TABLE,
    gates_ahead,
    next_transition,
    pending_gate,
    possible_requests,
    requested_transition,
)
from otel_perfopt.decide.observation import Extension, Inputs, Observation, ShadowReport
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.state import EXPOSED, PolicyState, State, after_entry, replay_states
from otel_perfopt.errors import TransitionError

HOUR_NS = 3600 * 10**9
ASKABLE = {State.AWAITING, State.SHADOW, State.CANARY, State.DORMANT}
JUDGED = {State.ROLLED_BACK, State.INCONCLUSIVE, State.REJECTED, State.RETIRED}
MAY_BE_AUTOMATIC = SafetyBoundary.model_validate(
    {
        "apiVersion": "perfopt.dev/v1",
        "kind": "SafetyBoundary",
        "metadata": {"name": "b"},
        "spec": {"automatic": ["parallel_tools"]},
    }
)

APPROVALS = [
    "auto",
    {"gates": ["canary", "active"]},
    {"gates": ["canary"]},
    {"gates": ["shadow", "canary", "active"]},
    {"gates": ["canary", "active"], "expires": "5h", "approvers": ["alice"]},
]
ROLLOUTS = [
    {"steps": [{"treatment": "50%", "baseline": "50%"}]},
    {"steps": [{"shadow": "1h"}, {"treatment": "5%", "baseline": "5%"}, {"treatment": "50%", "baseline": "50%"}]},
]
LIVE = {"live": {"measure": "load", "above": "300/min"}}
CONDITIONS = [{"finding": "trend"}, LIVE, LIVE]
VISITED: Counter[tuple[str, State, State]] = Counter()

SPECS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["disabled", "shadow", "canary", "active", "active", "active"]),
        "optimize": st.sampled_from([{"type": "tool_cache"}, {"type": "parallel_tools"}]),
        "approval": st.sampled_from(APPROVALS),
        "rollout": st.sampled_from(ROLLOUTS),
    },
    optional={"when": st.sampled_from(CONDITIONS), "expires": st.just("20h")},
)
OBSERVATIONS = st.builds(
    Observation,
    conclusion=st.sampled_from(["waiting", "better", "better", "worse", "inconclusive"]),
    stage_units=st.sampled_from([0, 150]),
    total_units=st.sampled_from([0, 150, 9000]),
    mismatch=st.sampled_from([False, False, True]),
    faults=st.sampled_from([0, 0, 0, 2]),
    shadow=st.sampled_from([None, ShadowReport(9), ShadowReport(9), ShadowReport(9, 1)]),
    lost_benefit=st.sampled_from([False, False, True]),
    when_met=st.sampled_from([None, True, True, False]),
)


class Life(RuleBasedStateMachine):
    """One policy's life under arbitrary events, beside an independent account of who said yes to what."""

    @initialize(spec=SPECS)
    def start(self, spec):
        self.now_ns = 10**18
        self.state = PolicyState("p")
        self.entries: list[LedgerEntry] = []
        self.killed = False
        self.declare(spec)
        self.forbidden: tuple[str, ...] = ()
        self.yeses: list[tuple[str, str, int]] = []  # digest, gate, until

    def declare(self, spec):
        whole = {"match": {"tool": "t"}, "goal": {"metric": "latency"}, **spec}
        self.policy = OptimizationPolicy.model_validate(
            {
                "apiVersion": "perfopt.dev/v1",
                "kind": "OptimizationPolicy",
                "metadata": {"name": "p"},
                "spec": whole,
            }
        )
        self.digest = policy_digest(self.policy)

    def inputs(self, seen: Observation) -> Inputs:
        forbidden = violations(self.policy, [MAY_BE_AUTOMATIC]) + self.forbidden
        return Inputs(self.now_ns, self.digest, seen, forbidden, killed=self.killed)

    def write(self, entry: LedgerEntry):
        self.entries.append(entry)
        self.state = after_entry(self.state, entry)

    def take(self, step):
        before = self.state
        VISITED[step.event, before.state, step.to_state] += 1
        if step.exposes and step.to_state is not before.state:
            self.check_approved("active" if step.to_state is State.ACTIVE else "canary")
        self.write(step.entry(self.now_ns))
        if self.state.state in JUDGED:
            self.yeses.clear()

    def check_approved(self, gate):
        rule = self.policy.spec.approval
        if gate in rule.gates:
            assert any(yes[:2] == (self.digest, gate) and self.now_ns < yes[2] for yes in self.yeses), gate
        else:
            assert self.policy.spec.optimize.type == "parallel_tools", "automatic although the boundary forbids it"
        assert self.policy.spec.mode in ({"active"} if gate == "active" else {"canary", "active"})
        assert not self.killed
        assert not self.forbidden

    @rule(hours=st.integers(0, 30))
    def time_passes(self, hours):
        self.now_ns += hours * HOUR_NS

    @rule(seen=OBSERVATIONS)
    def looked_at(self, seen):
        for _ in range(10):
            step = next_transition(self.policy, self.state, self.inputs(seen))
            if step is None:
                return
            self.take(step)
            seen = Observation(when_met=seen.when_met)
        raise AssertionError("it never comes to rest")

    @rule(hours=st.integers(0, 3), conclusion=st.sampled_from(["waiting", "better"]), asks=st.booleans())
    def goes_well(self, hours, conclusion, asks):
        """All is as it should be, except that perhaps nobody is asked: what else would lead to exposure is there."""
        self.killed, self.forbidden = False, ()
        self.now_ns += hours * HOUR_NS
        gate = pending_gate(self.policy, self.state, self.now_ns)
        if asks and gate is not None:
            self.approved(gate, "alice")
        self.looked_at(Observation(conclusion, stage_units=150, total_units=150, shadow=ShadowReport(9), when_met=True))

    @rule(spec=SPECS, really=st.sampled_from([True, False, False, False]))
    def edited(self, spec, really):
        if not really:
            return
        was_exposed, before = self.state.is_exposed, self.digest
        self.declare(spec)
        step = next_transition(self.policy, self.state, self.inputs(Observation()))
        if was_exposed and self.digest != before:
            assert step is not None
            assert not step.exposes
        if step is not None:
            self.take(step)
        if self.digest != before and self.state.state is not State.KILLED:
            assert not [yes for yes in self.state.approvals if yes.digest == before or yes.digest != self.digest]

    @rule()
    def removed(self):
        """The file goes, and what follows is looked at before it comes back."""
        was_exposed, kept, self.digest = self.state.is_exposed, self.digest, ""
        step = next_transition(self.policy, self.state, self.inputs(Observation()))
        assert not was_exposed or (step is not None and not step.exposes)
        if step is not None:
            self.take(step)
        self.digest = kept

    @precondition(lambda self: self.state.state in ASKABLE)
    @rule(
        gate=st.sampled_from(["canary", "canary", "active", "shadow"]), who=st.sampled_from(["alice", "alice", "bob"])
    )
    def approved(self, gate, who):
        if self.state.digest != self.digest or gate not in gates_ahead(self.policy, self.state):
            return
        try:
            yes = give_approval(self.policy, self.digest, gate, who, authors=["bob"], now_ns=self.now_ns)
        except TransitionError:
            return
        assert who != "bob", "the author said yes to his own"
        details = {"gate": gate, "expires_ns": str(yes.expires_ns)}
        self.write(LedgerEntry(self.now_ns, who, "approve", "p", self.digest, details=details))
        self.yeses.append((self.digest, gate, yes.expires_ns))

    @rule(
        word=st.sampled_from(["reject", "rollback", "retire", "kill", "unkill", "unkill", "retry", "retry", "extend"])
    )
    def asked(self, word):
        can = word in possible_requests(self.state)
        try:
            step = requested_transition(
                self.policy,
                self.state,
                self.inputs(Observation()),
                event=word,
                actor="carol",
                reason="because",
                extension=Extension(units=5000, duration_s=30 * 86400.0),
            )
        except TransitionError:
            assert not can or word in {"retry", "unkill", "extend"}
            return
        assert can
        assert not step.exposes
        self.take(step)

    @precondition(lambda self: self.state.state is State.CANARY)
    @rule()
    def runs_out_and_is_extended(self):
        """The limit comes without a verdict, a person extends, and approval is asked for again."""
        self.killed, self.forbidden = False, ()
        self.looked_at(Observation("waiting", total_units=100_000, when_met=True))
        if self.state.state is State.INCONCLUSIVE:
            before = self.state.trial
            self.asked("extend")
            self.goes_well(0, "waiting", asks=False)
            if self.state.state is State.CANARY:
                assert "canary" not in self.policy.spec.approval.gates
            if self.state.trial is not None and before is not None:
                assert self.state.trial.exposed_ns == before.exposed_ns

    @invariant()
    def what_is_quarantined_is_not_exposed(self):
        """A digest that was taken back is not exposed again before somebody retries it."""
        state = getattr(self, "state", None)
        if state is not None and state.is_exposed:
            assert state.digest not in state.quarantine

    @precondition(lambda self: self.policy.spec.when is not None)
    @rule(hours=st.integers(1, 30))
    def sleeps_for_a_while(self, hours):
        """The condition is gone and comes back: asleep nobody is exposed, and only what was approved wakes exposed."""
        before = self.state
        self.looked_at(Observation(when_met=False))
        if self.state.state is not State.DORMANT or before.state is State.DORMANT:
            return
        assert not self.state.is_exposed
        self.now_ns += hours * HOUR_NS
        self.looked_at(Observation("waiting", when_met=True))
        if self.state.is_exposed and self.policy.spec.when.live is not None and self.state.state is before.state:
            assert (self.state.step, self.state.exposed_ns) == (before.step, before.exposed_ns)
            assert self.state.slept_s == before.slept_s + hours * 3600

    @rule(on=st.booleans())
    def bounded(self, on):
        self.forbidden = ("no longer allowed",) if on else ()

    @rule(on=st.booleans())
    def switched(self, on):
        self.killed = on

    @invariant()
    def the_way_back_is_open(self):
        """From every exposed state a rollback by anybody succeeds."""
        if getattr(self, "state", None) is None or self.state.state not in EXPOSED:
            return
        step = requested_transition(
            self.policy, self.state, self.inputs(Observation()), event="rollback", actor="anybody"
        )
        assert step.to_state is State.ROLLED_BACK

    @invariant()
    def the_ledger_says_the_same(self):
        """Replaying every entry gives the state that was reached step by step."""
        if getattr(self, "entries", None):
            assert replay_states(self.entries)["p"] == self.state


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
test_any_sequence_of_events = Life.TestCase


def random_spec(draw: Random) -> dict:
    return {
        "mode": draw.choice(["disabled", "shadow", "canary", "active", "active", "active"]),
        "optimize": {"type": draw.choice(["tool_cache", "parallel_tools"])},
        "approval": draw.choice(APPROVALS),
        "rollout": draw.choice(ROLLOUTS),
        **draw.choice([{}, {}, {"when": {"finding": "trend"}}, {"when": LIVE}, {"when": LIVE}, {"expires": "20h"}]),
    }


def random_observation(draw: Random) -> Observation:
    return Observation(
        conclusion=draw.choice(["waiting", "better", "better", "worse", "inconclusive"]),
        stage_units=draw.choice([0, 150]),
        total_units=draw.choice([0, 150, 9000]),
        mismatch=draw.random() < 0.3,
        faults=draw.choice([0, 0, 0, 2]),
        shadow=draw.choice([None, ShadowReport(9), ShadowReport(9), ShadowReport(9, 1)]),
        lost_benefit=draw.random() < 0.2,
        when_met=draw.choice([None, True, True, False]),
    )


def one_event(life: Life, draw: Random) -> None:
    events = {
        "well": lambda: life.goes_well(draw.randint(0, 3), draw.choice(["waiting", "better"]), draw.random() < 0.6),
        "look": lambda: life.looked_at(random_observation(draw)),
        "yes": lambda: life.approved(draw.choice(["shadow", "canary", "active"]), draw.choice(["alice", "bob"])),
        "time": lambda: life.time_passes(draw.randint(0, 30)),
        "edit": lambda: life.edited(random_spec(draw), really=True),
        "gone": life.removed,
        "ask": lambda: life.asked(draw.choice(["reject", "rollback", "retire", "kill", "unkill", "retry", "extend"])),
        "limit": lambda: life.runs_out_and_is_extended() if life.state.state is State.CANARY else None,
        "sleep": lambda: life.sleeps_for_a_while(draw.randint(1, 30)) if life.policy.spec.when is not None else None,
        "bound": lambda: life.bounded(draw.random() < 0.5),
        "switch": lambda: life.switched(draw.random() < 0.5),
    }
    word = draw.choices(list(events), weights=[8, 3, 2, 1, 1, 0.3, 1, 0.5, 1.5, 0.4, 0.4])[0]
    events[word]()
    life.the_way_back_is_open()
    life.what_is_quarantined_is_not_exposed()


def test_many_random_lives_hold_the_same_and_take_every_row():
    """A thousand lives of sixty events break nothing, and between them take every row of the table."""
    VISITED.clear()
    for seed in range(1000):
        draw, life = Random(seed), Life()
        life.start(random_spec(draw))
        for _ in range(60):
            one_event(life, draw)
        life.the_ledger_says_the_same()
    for row in TABLE:
        assert any(VISITED[row.event, source, row.target] for source in row.sources), f"never taken: {row.event}"
    exposures = sum(count for (_, _, to), count in VISITED.items() if to in EXPOSED)
    assert exposures > 1000
