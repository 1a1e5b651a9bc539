"""What a person may ask of a policy: a form in, the same request as the command line's to the policies out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt.decide.kill_switch import switch_off
from otel_perfopt.decide.lifecycle import Transition
from otel_perfopt.decide.observation import Extension
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.publish import publish
from otel_perfopt.decide.quantity import parse_duration
from otel_perfopt.errors import PerfoptError, TransitionError

_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks for what of which policy (None: of everything), when and why; `form` holds what else was said."""

    policy: str | None
    actor: str
    reason: str
    now_ns: int
    form: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to ask for: its button, what it does in a sentence, and how; `grave` is drawn as such."""

    button: str
    does: str
    ask: Callable[[PolicySet, Asked], Iterable[Transition]]
    grave: bool = False


def _approve(policies: PolicySet, asked: Asked) -> Iterable[Transition]:
    policies.approve(_named(asked), asked.actor, asked.reason, asked.now_ns, asked.form.get("gate") or None)
    return policies.advance({}, asked.now_ns)


def _extend(policies: PolicySet, asked: Asked) -> Iterable[Transition]:
    try:
        units = int(asked.form.get("units") or 0)
        duration_s = parse_duration(asked.form.get("duration") or "0s")
    except ValueError as error:
        raise TransitionError(f"say units as a number and duration such as 7d: {error}") from error
    extension = Extension(units, duration_s)
    done = policies.extend(_named(asked), asked.actor, asked.reason, asked.now_ns, extension)
    return (done, *policies.advance({}, asked.now_ns))


def _request(event: str) -> Callable[[PolicySet, Asked], Iterable[Transition]]:
    def ask(policies: PolicySet, asked: Asked) -> Iterable[Transition]:
        return (getattr(policies, event)(_named(asked), asked.actor, asked.reason, asked.now_ns),)

    return ask


def _kill(policies: PolicySet, asked: Asked) -> Iterable[Transition]:
    return policies.kill(asked.policy, asked.actor, asked.reason, asked.now_ns)


def _unkill(policies: PolicySet, asked: Asked) -> Iterable[Transition]:
    return policies.unkill(asked.policy, asked.actor, asked.reason, asked.now_ns)


# The life cycle's own words, as `PolicyStatus.can` names them, and approving.
ACTIONS: Mapping[str, Action] = {
    "approve": Action(
        "Approve", "Say yes to the gate it waits at, for the file as it is now; an edit voids it.", _approve
    ),
    "reject": Action("Reject", "Say no to it.", _request("reject")),
    "rollback": Action(
        "Roll back", "Take it back to baseline now; needs nobody's approval.", _request("rollback"), grave=True
    ),
    "retry": Action("Retry", "Propose it again.", _request("retry")),
    "extend": Action("Extend", "Let the comparison go on with the units it has; needs its approval again.", _extend),
    "retire": Action("Retire", "End it for good; its file may stay.", _request("retire"), grave=True),
    "kill": Action("Kill", "Switch its treatment off in every agent at once.", _kill, grave=True),
    "unkill": Action("Return from the kill", "Let it come back; it starts again as proposed.", _unkill),
}


def do(home: Path, event: str, asked: Asked) -> tuple[Transition, ...]:
    """Do one of `ACTIONS` and publish what follows from it.

    Raises:
        PerfoptError: it is not possible, or not for this person; a kill is in force nevertheless.
    """
    if event == "kill":
        # Before anything that can fail: a ledger that cannot be read or written must not keep treatment on.
        _switch_off(home, asked.policy)
    policies = PolicySet.open(home, asked.now_ns)
    done = tuple(ACTIONS[event].ask(policies, asked))
    publish(policies, asked.now_ns)
    return done


def checked_reason(text: str) -> str:
    """Return why somebody asks, as it goes on the ledger.

    Raises:
        PerfoptError: nothing is said, or too much.
    """
    reason = text.strip()
    if not reason:
        raise PerfoptError("say why; the reason is kept on the ledger")
    if len(reason) > _LONGEST_REASON:
        raise PerfoptError(f"say it in at most {_LONGEST_REASON} characters")
    return reason


def _switch_off(home: Path, policy: str | None) -> None:
    looked, problem = PolicySet.look(home)
    if policy is None or problem is not None or policy in looked.names:
        switch_off(home, policy)


def _named(asked: Asked) -> str:
    if asked.policy is None:
        raise TransitionError("name a policy")
    return asked.policy
