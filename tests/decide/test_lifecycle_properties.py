"""Whatever happens in whatever order: exposure has its approvals, the way back is open, edits void."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from otel_perfopt.decide.approval import give_approval
from otel_perfopt.decide.boundary import SafetyBoundary, violations
from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.lifecycle import next_transition, possible_requests, requested_transition
from otel_perfopt.decide.observation import Inputs, Observation, ShadowReport
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.state import EXPOSED, PolicyState, State, after_entry, replay_states
from otel_perfopt.errors import TransitionError

HOUR_NS = 3600 * 10**9
JUDGED = {State.ROLLED_BACK, State.INCONCLUSIVE, State.REJECTED, State.RETIRED}
MAY_BE_AUTOMATIC = SafetyBoundary.model_validate(
    {
        "apiVersion": "perfopt.dev/v1",
        "kind": "SafetyBoundary",
        "metadata": {"name": "b"},
        "spec": {"automatic": ["parallel_tools"]},
    }
)

SPECS = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["disabled", "shadow", "canary", "active", "active", "active"]),
        "optimize": st.sampled_from([{"type": "tool_cache"}, {"type": "parallel_tools"}]),
        "approval": st.sampled_from(
            [
                "auto",
                {"gates": ["canary", "active"]},
                {"gates": ["canary"]},
                {"gates": ["shadow", "canary", "active"]},
                {"gates": ["canary", "active"], "expires": "5h", "approvers": ["alice"]},
            ]
        ),
        "rollout": st.sampled_from(
            [
                {"steps": [{"treatment": "50%", "baseline": "50%"}]},
                {
                    "steps": [
                        {"shadow": "1h"},
                        {"treatment": "5%", "baseline": "5%"},
                        {"treatment": "50%", "baseline": "50%"},
                    ]
                },
            ]
        ),
    },
    optional={"when": st.just({"finding": "trend"}), "expires": st.just("20h")},
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
        self.declare(spec)
        self.killed = False
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
        forbidden = violations(self.policy, [MAY_BE_AUTOMATIC])
        return Inputs(self.now_ns, self.digest, seen, forbidden, killed=self.killed)

    def write(self, entry: LedgerEntry):
        self.entries.append(entry)
        self.state = after_entry(self.state, entry)

    def take(self, step):
        before = self.state
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

    @rule(spec=SPECS)
    def edited(self, spec):
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

    @precondition(lambda self: self.state.state in {State.AWAITING, State.SHADOW, State.CANARY})
    @rule(
        gate=st.sampled_from(["canary", "canary", "active", "shadow"]), who=st.sampled_from(["alice", "alice", "bob"])
    )
    def approved(self, gate, who):
        if self.state.digest != self.digest:
            return
        try:
            yes = give_approval(self.policy, self.digest, gate, who, authors=["bob"], now_ns=self.now_ns)
        except TransitionError:
            return
        assert who != "bob", "the author said yes to his own"
        details = {"gate": gate, "expires_ns": str(yes.expires_ns)}
        self.write(LedgerEntry(self.now_ns, who, "approve", "p", self.digest, details=details))
        self.yeses.append((self.digest, gate, yes.expires_ns))

    @rule(event=st.sampled_from(["reject", "rollback", "retire", "kill", "unkill", "retry"]))
    def asked(self, event):
        can = event in possible_requests(self.state)
        try:
            step = requested_transition(
                self.policy, self.state, self.inputs(Observation()), event=event, actor="carol", reason="because"
            )
        except TransitionError:
            assert not can or event in {"retry", "unkill"}
            return
        assert can
        assert not step.exposes
        self.take(step)

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


Life.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_any_sequence_of_events = Life.TestCase
