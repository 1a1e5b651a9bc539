"""When a transition may happen: a policy, its state and the inputs in, the reason for going (or nothing) out."""

from __future__ import annotations

from dataclasses import dataclass

from otel_perfopt.decide.observation import (
    BETTER,
    INCONCLUSIVE,
    NO_EXTENSION,
    NOT_COMPARED,
    WORSE,
    Extension,
    Inputs,
    Observation,
    Retained,
)
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.quantity import format_duration, format_percent
from otel_perfopt.decide.state import PolicyState, State
from otel_perfopt.errors import TransitionError


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a guard looks at; `given_reason` and `extension` are what a person said."""

    policy: OptimizationPolicy
    state: PolicyState
    inputs: Inputs
    given_reason: str = ""
    extension: Extension = NO_EXTENSION

    @property
    def seen(self) -> Observation:
        """What was observed."""
        return self.inputs.observation

    def open(self, gate: str) -> bool:
        """Tell whether nobody need be asked before a gate, or somebody said yes to this very digest."""
        return gate not in self.policy.spec.approval.gates or self.state.approved(gate, self.inputs.now_ns)

    def elapsed_s(self, since_ns: int) -> float:
        """Return the seconds since a time."""
        return (self.inputs.now_ns - since_ns) / 1e9

    @property
    def stage_s(self) -> float:
        """Seconds that this stage has lasted; what the policy slept in between does not count."""
        return self.elapsed_s(self.state.since_ns) + self.state.awake_s


# --- by the system: the reason, or None to stay ---------------------------------------------------


def switched_off(at: Situation) -> str | None:
    """A switch is on: the one for everything, or the one for this policy."""
    if at.inputs.killed:
        return "everything is switched off"
    return "switched off by its kill file" if at.inputs.killed_alone else None


def harm_shown(at: Situation) -> str | None:
    """The comparison says worse."""
    return (at.seen.reason or "the comparison shows harm") if at.seen.conclusion == WORSE else None


def faults_seen(at: Situation) -> str | None:
    """The optimization raised."""
    return f"the optimization raised {at.seen.faults} times" if at.seen.faults else None


def shadow_not_clean(at: Situation) -> str | None:
    """Shadow found what would have been wrong."""
    report = at.seen.shadow
    if report is None or not (report.wrong_results or report.faults):
        return None
    return f"shadow found {report.wrong_results} wrong results and {report.faults} faults in {report.calls} calls"


def context_lost(at: Situation) -> str | None:
    """Shadow showed that a shorter context would have lacked what replies used."""
    retained, needed = _retained(at), at.policy.spec.needed_retention
    if retained is None or needed is None or retained.high >= needed:
        return None
    return f"the shorter context would have kept {retained}, and {format_percent(needed)} are asked for"


def file_gone(at: Situation) -> str | None:
    """The policy is declared no more."""
    return "its file is gone" if not at.inputs.digest and at.state.digest else None


def digest_changed(at: Situation) -> str | None:
    """The declaration differs from what the state is about."""
    if not at.inputs.digest or at.inputs.digest == at.state.digest:
        return None
    return "the policy was edited: what was approved is approved no more" if at.state.digest else "declared again"


def boundary_forbids(at: Situation) -> str | None:
    """A boundary forbids something in the policy."""
    return "; ".join(at.inputs.violations) or None


def condition_gone(at: Situation) -> str | None:
    """What the policy waits for is gone; not knowing is no reason."""
    when = at.policy.spec.when
    if when is None or at.seen.when_met is not False:
        return None
    return at.seen.when_reason or f"no {when} any more"


def expired(at: Situation) -> str | None:
    """It has been active for as long as it was meant to."""
    limit_s = at.policy.spec.expires_s
    if limit_s is None or at.stage_s < limit_s:
        return None
    return f"it was to be active for {format_duration(limit_s)}"


def benefit_lost(at: Situation) -> str | None:
    """The hold-back no longer shows a benefit."""
    return (at.seen.reason or "the hold-back shows no benefit any more") if at.seen.lost_benefit else None


def promotable(at: Situation) -> str | None:
    """Better between equal arms, at the last step, with the approval that needs."""
    spec = at.policy.spec
    is_ready = (
        spec.mode == "active"
        and at.state.step == len(spec.rollout.canary_steps)
        and at.seen.conclusion == BETTER
        and not at.seen.mismatch
        and at.open("active")
    )
    return (at.seen.reason or "the comparison shows a benefit") if is_ready else None


def step_done(at: Situation) -> str | None:
    """Enough units at this step, no harm, no mismatch, and a next step to go to."""
    rollout = at.policy.spec.rollout
    has_next = at.state.step < len(rollout.canary_steps)
    if not has_next or at.seen.mismatch or at.seen.stage_units < rollout.limits.min_units:
        return None
    return f"{at.seen.stage_units} units without harm"


def limit_reached(at: Situation) -> str | None:
    """A comparison showed nothing within the limits; a benefit that only waits for its approval is shown."""
    rollout = at.policy.spec.rollout
    most_units, longest_s = limits_of(at.policy, at.state)
    if at.seen.conclusion == NOT_COMPARED or rollout.on_inconclusive == "hold":
        return None
    if at.seen.conclusion == BETTER and not at.seen.mismatch:
        return None
    why = at.seen.reason or "nothing was shown"
    if at.seen.total_units >= most_units:
        return f"{at.seen.total_units} units compared: {why}"
    if at.elapsed_s(at.state.exposed_ns) >= longest_s:
        return f"{format_duration(float(round(longest_s)))} of exposure are over: {why}"
    return why if at.seen.conclusion == INCONCLUSIVE else None


def limits_of(policy: OptimizationPolicy, state: PolicyState) -> tuple[int, float]:
    """Return the most units and seconds of exposure a comparison may take, with what people added and time asleep."""
    limits, trial = policy.spec.rollout.limits, state.trial
    more_units, more_s = (trial.more_units, trial.more_s) if trial is not None else (0, 0.0)
    return limits.max_units + more_units, limits.max_duration_s + more_s + state.slept_s


def shadow_passed(at: Situation) -> str | None:
    """Watched for long enough, clean, and approved."""
    spec = at.policy.spec
    report, duration_s = at.seen.shadow, spec.rollout.shadow_s or 0.0
    if spec.mode not in {"canary", "active"} or report is None or not report.is_clean or not at.open("canary"):
        return None
    if at.seen.held:
        return None
    if at.stage_s < duration_s:
        return None
    retained, needed = report.retained, at.policy.spec.needed_retention
    if not needed:
        return f"shadow was clean over {report.calls} calls"
    # Nobody seen to use anything is no sign that nothing is needed.
    if retained is None or retained.low < needed:
        return None
    return f"shadow was clean over {report.calls} calls and kept {retained}"


def _retained(at: Situation) -> Retained | None:
    return at.seen.shadow.retained if at.seen.shadow is not None else None


def canary_at_once(at: Situation) -> str | None:
    """Approved, and no shadow was asked for."""
    spec = at.policy.spec
    fresh = spec.rollout.shadow_s is None and at.state.trial is None
    may = fresh and spec.mode in {"canary", "active"} and at.open("canary") and not at.seen.held
    return "approved" if may and at.state.approvals else "no approval is needed" if may else None


def trial_goes_on(at: Situation) -> str | None:
    """A comparison that ended without a verdict was extended, and its exposure approved again."""
    trial, may_expose = at.state.trial, at.policy.spec.mode in {"canary", "active"}
    if trial is None or not may_expose or not at.open("canary"):
        return None
    return f"goes on at step {trial.step} with the units it has"


def shadow_may_start(at: Situation) -> str | None:
    """Shadow was asked for and is free of side effects, or was approved."""
    if at.policy.spec.rollout.shadow_s is None or at.state.trial is not None or not at.open("shadow"):
        return None
    is_free = at.policy.spec.kind.shadow_free
    if not (is_free or at.state.approved("canary", at.inputs.now_ns)):
        return None
    return "shadow changes nothing for the agent" if is_free else "approved"


def checks_pass(at: Situation) -> str | None:
    """Nothing forbids it: not its mode, no boundary, no quarantine."""
    is_off = at.policy.spec.mode == "disabled"
    is_away = at.state.digest in at.state.quarantine
    waits = at.policy.spec.when is not None and at.seen.when_met is not True
    return None if is_off or is_away or waits or at.inputs.violations else "all checks pass"


def condition_met(at: Situation) -> str | None:
    """What the policy waits for is there."""
    when = at.policy.spec.when
    if when is None:
        return "it waits for nothing"
    return (at.seen.when_reason or f"{when} was found") if at.seen.when_met else None


def wakes_in_shadow(at: Situation) -> str | None:
    """The bottleneck is back, and the policy slept in the middle of its shadow."""
    if not (_wakes_to(at, State.SHADOW) and at.open("shadow")):
        return None
    is_free = at.policy.spec.kind.shadow_free or at.state.approved("canary", at.inputs.now_ns)
    return condition_met(at) if is_free else None


def wakes_in_canary(at: Situation) -> str | None:
    """The bottleneck is back, and the policy slept in a canary whose approval still stands."""
    return condition_met(at) if _wakes_to(at, State.CANARY) and at.open("canary") else None


def wakes_active(at: Situation) -> str | None:
    """The bottleneck is back, and the policy was promoted with an approval that still stands."""
    return condition_met(at) if _wakes_to(at, State.ACTIVE) and at.open("active") else None


def _wakes_to(at: Situation, state: State) -> bool:
    rest = at.state.rest
    return rest is not None and rest.state is state and checks_pass(at) is not None


def declared_with_condition(at: Situation) -> str | None:
    """A new policy that waits for a finding or a bottleneck."""
    when = at.policy.spec.when
    return f"declared; waits for {when}" if when is not None and at.inputs.digest else None


def declared(at: Situation) -> str | None:
    """A new policy."""
    return "declared" if at.policy.spec.when is None and at.inputs.digest else None


# --- by a person: the reason, or TransitionError with why not -------------------------------------


def always(at: Situation) -> str | None:
    """A person may always do this, and need not say why."""
    return at.given_reason or "no reason given"


def may_return(at: Situation) -> str | None:
    """A killed policy returns when a person says so, but not while everything is switched off."""
    if at.inputs.killed:
        raise TransitionError(f"everything is switched off; switch everything on before {at.policy.name} alone")
    return always(at)


def may_retry(at: Situation) -> str | None:
    """With a reason, a file, and after the cool-down."""
    name, state = at.policy.name, at.state
    if not at.given_reason.strip():
        raise TransitionError(f"say why {name} should be tried again (--reason)")
    if not at.inputs.digest:
        raise TransitionError(f"the file of {name} is gone; put it back first")
    until_ns = state.quarantine.get(at.inputs.digest, 0)
    if at.inputs.now_ns < until_ns:
        left = format_duration(float(max(1, round((until_ns - at.inputs.now_ns) / 1e9))))
        raise TransitionError(f"{name} cools down for another {left}; edit it, or try again then")
    if state.state is State.PROPOSED and not until_ns:
        raise TransitionError(f"{name} is proposed already; there is nothing to try again")
    return at.given_reason


def may_extend(at: Situation) -> str | None:
    """With a reason, the same declaration, and limits that leave something to compare."""
    name, state, added = at.policy.name, at.state, at.extension
    if not at.given_reason.strip():
        raise TransitionError(f"say why {name} should go on (--reason)")
    if at.inputs.digest != state.digest or state.trial is None:
        raise TransitionError(
            f"{name} was edited or removed since; it cannot go on, only be tried again: perfopt retry"
        )
    if added.units < 0 or added.duration_s < 0 or not (added.units or added.duration_s):
        raise TransitionError(f"say by how much {name} should go on: --units, --duration or both")
    most_units, longest_s = limits_of(at.policy, state)
    if state.trial.units >= most_units + added.units:
        raise TransitionError(f"{name} has compared {state.trial.units} units; it needs --units beyond that")
    if (state.trial.ended_ns - state.trial.exposed_ns) / 1e9 >= longest_s + added.duration_s:
        raise TransitionError(f"the time of {name} is over too; it needs --duration")
    return at.given_reason
