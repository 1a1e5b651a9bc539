"""One line of the ledger: what happened in, a hash-chained canonical JSON line out, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from otel_perfopt.decide.digest import canonical_json

FIRST_PREVIOUS = "0" * 64


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One thing that happened.

    `policy` is `*` for what concerns all. `from_state` and `to_state` are empty where no state
    changed. `details` is plain JSON data. `sequence`, `previous` and `hash` are set by the ledger.
    """

    time_ns: int
    actor: str
    event: str
    policy: str
    digest: str = ""
    from_state: str = ""
    to_state: str = ""
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    sequence: int = 0
    previous: str = FIRST_PREVIOUS
    hash: str = ""

    def chained(self, sequence: int, previous: str) -> LedgerEntry:
        """Return the entry in its place: with its sequence, the hash before it and its own."""
        placed = replace(self, sequence=sequence, previous=previous)
        return replace(placed, hash=placed.expected_hash())

    def expected_hash(self) -> str:
        """Return SHA-256 of the entry's canonical JSON without its own hash."""
        return sha256(canonical_json(self._content())).hexdigest()

    def to_line(self) -> bytes:
        """Return the line as it is written, with its newline.

        Raises:
            ValueError: the details hold what JSON cannot.
        """
        return canonical_json({**self._content(), "hash": self.hash}) + b"\n"

    def _content(self) -> dict[str, Any]:
        # Nanoseconds are beyond what canonical JSON numbers hold exactly, so they are text, as in OTLP.
        return {
            "sequence": self.sequence,
            "time_ns": str(self.time_ns),
            "actor": self.actor,
            "event": self.event,
            "policy": self.policy,
            "digest": self.digest,
            "from": self.from_state,
            "to": self.to_state,
            "reason": self.reason,
            "details": dict(self.details),
            "previous": self.previous,
        }


_TEXTS = ("time_ns", "actor", "event", "policy", "digest", "from", "to", "reason", "previous", "hash")


def entry_from_line(line: bytes) -> LedgerEntry:
    """Read one line (without its newline) and check that its hash is its own.

    Raises:
        ValueError: it is no entry, is not in canonical form, or its hash does not fit its content.
    """
    raw = json.loads(line)
    if not isinstance(raw, dict) or set(raw) != {*_TEXTS, "sequence", "details"}:
        raise ValueError("it is no ledger entry")
    entry = _entry(raw)
    if entry.hash != entry.expected_hash():
        raise ValueError("its hash does not fit its content: it was changed after it was written")
    if entry.to_line() != line + b"\n":
        raise ValueError("it is not in canonical form: it was changed after it was written")
    return entry


def _entry(raw: Mapping[str, Any]) -> LedgerEntry:
    if not all(isinstance(raw[name], str) for name in _TEXTS):
        raise ValueError("a field that must be text is not")
    if type(raw["sequence"]) is not int or not isinstance(raw["details"], dict):
        raise ValueError("sequence or details is of the wrong type")
    return LedgerEntry(
        time_ns=int(raw["time_ns"]),
        actor=raw["actor"],
        event=raw["event"],
        policy=raw["policy"],
        digest=raw["digest"],
        from_state=raw["from"],
        to_state=raw["to"],
        reason=raw["reason"],
        details=raw["details"],
        sequence=raw["sequence"],
        previous=raw["previous"],
        hash=raw["hash"],
    )
