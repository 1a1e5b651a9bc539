"""Who said yes: a person, a policy's digest and a gate in, an `Approval` that binds them (or a refusal) out."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_file import Groups
from otel_perfopt.errors import TransitionError

_GROUP = "group:"
NO_GROUPS = Groups({})


@dataclass(frozen=True, slots=True)
class Approval:
    """One yes: it holds for this policy, this digest and this gate, from `time_ns` until `expires_ns`."""

    policy: str
    digest: str
    gate: str
    approver: str
    time_ns: int
    expires_ns: int

    def holds(self, digest: str, gate: str, now_ns: int) -> bool:
        """Tell whether the yes is for exactly this digest and gate, and still valid."""
        return self.digest == digest and self.gate == gate and self.time_ns <= now_ns < self.expires_ns


def identity(named: str | None = None) -> str:
    """Return who is acting: the name given with `--as`, else the user the operating system knows.

    Raises:
        TransitionError: neither says.
    """
    if named is not None and named.strip():
        return named.strip()
    try:
        import pwd  # noqa: PLC0415 - POSIX only; elsewhere the environment must do

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        pass
    try:
        return getpass.getuser()
    except (OSError, ImportError, KeyError) as error:
        raise TransitionError("nobody knows who you are; say it with --as NAME") from error


def give_approval(
    policy: OptimizationPolicy,
    digest: str,
    gate: str,
    approver: str,
    *,
    authors: Iterable[str],
    now_ns: int,
    groups: Groups = NO_GROUPS,
) -> Approval:
    """Return the approval of one gate, valid for as long as the policy says.

    Raises:
        TransitionError: the gate needs none, the approver is an author, or is not among the approvers.
    """
    rule = policy.spec.approval
    if gate not in rule.gates:
        wanted = ", ".join(rule.gates) or "none"
        raise TransitionError(f"{policy.name} needs no approval for {gate}; its gates are: {wanted}")
    if approver in set(authors) and not rule.allow_self:
        raise TransitionError(
            f"{approver} wrote {policy.name} and may not approve it; ask somebody else, or set approval.allowSelf: true"
        )
    if not _may_approve(approver, rule.approvers, groups):
        raise TransitionError(f"{approver} is not among the approvers of {policy.name}: {', '.join(rule.approvers)}")
    return Approval(policy.name, digest, gate, approver, now_ns, now_ns + int(rule.expires_s * 1e9))


def _may_approve(approver: str, approvers: Iterable[str], groups: Groups) -> bool:
    """Tell whether a list of names, patterns and `group:` names includes somebody; an empty list is everybody."""
    listed = list(approvers)
    return not listed or any(
        approver in groups.members(name.removeprefix(_GROUP))
        if name.startswith(_GROUP)
        else fnmatchcase(approver, name)
        for name in listed
    )
