"""What a policy would change: its declaration and what is in force in, a readable difference out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

import yaml

from otel_perfopt.console.loop_thread import Seen
from otel_perfopt.decide.glob import lists_meet
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import EXPOSED

_CONTEXT = 3


@dataclass(frozen=True, slots=True)
class DeclaredChange:
    """A difference as lines of ("add" | "remove" | "same" | "place", text), and a sentence on what it is against."""

    against: str
    lines: tuple[tuple[str, str], ...]


def declared_change(status: PolicyStatus, seen: Seen) -> DeclaredChange:
    """Return how a policy, as it is declared now, differs from what agents do today.

    That is its own last exposed version, else the policy in force that does the same thing in the same place,
    else nothing.
    """
    now = document_text(status.loaded.raw)
    before, name = _own_before(status, seen), f"{status.name} as it was last in force"
    if before is None:
        other = next((one for one in seen.statuses if _same_place(one, status)), None)
        before, name = (other.loaded.raw, f"{other.name}, which is in force there") if other is not None else (None, "")
    if before is None:
        where = "in the same place" if status.state.state not in EXPOSED else "before it"
        added = tuple(("add", line) for line in now.splitlines())
        return DeclaredChange(f"Nothing of its kind was in force {where}: every line is new.", added)
    lines = _lines(document_text(before), now)
    said = f"Against {name}." if lines else f"No difference to {name}."
    return DeclaredChange(said, lines)


def document_text(document: Mapping[str, Any]) -> str:
    """Return a policy document as YAML, as it was declared and in its order."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=100)


def _own_before(status: PolicyStatus, seen: Seen) -> Mapping[str, Any] | None:
    """Return the policy's own document of the last digest that was exposed, if that is another than now."""
    documents: dict[str, Mapping[str, Any]] = {}
    exposed = ""
    for entry in seen.entries:
        if entry.policy == status.name:
            if isinstance(entry.details.get("document"), dict):
                documents[entry.digest] = entry.details["document"]
            if entry.to_state in {str(one) for one in EXPOSED} and entry.digest != status.digest:
                exposed = entry.digest
    return documents.get(exposed)


def _same_place(one: PolicyStatus, other: PolicyStatus) -> bool:
    if one.name == other.name or not one.state.is_exposed:
        return False
    mine, theirs = one.policy.spec, other.policy.spec
    return (
        mine.optimize.type == theirs.optimize.type
        and lists_meet(mine.match.command, theirs.match.command)
        and lists_meet(mine.match.tool, theirs.match.tool)
        and lists_meet(mine.match.preference, theirs.match.preference)
        and lists_meet(mine.match.user, theirs.match.user)
    )


_KINDS = {"+": "add", "-": "remove", " ": "same", "@": "place"}


def _lines(before: str, now: str) -> tuple[tuple[str, str], ...]:
    drawn: Sequence[str] = list(unified_diff(before.splitlines(), now.splitlines(), n=_CONTEXT, lineterm=""))
    return tuple((_KINDS[line[0]], line[1:] if line[0] != "@" else line) for line in drawn[2:])
