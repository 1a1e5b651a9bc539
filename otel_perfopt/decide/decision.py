"""What crosses from controller to agent: decisions in force, as an immutable JSON snapshot with a lease."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.early_share import EarlyShare
from otel_perfopt.decide.personalization import NOTHING_PERSONAL, Personalization
from otel_perfopt.decide.tuned import Tuned

SNAPSHOT_VERSION = 1
# Over HTTP: how old the document is by the controller's own clock, in seconds.
SNAPSHOT_AGE_HEADER = "Perfopt-Snapshot-Age"
SNAPSHOT_PATH = "/v1/snapshot"


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls a decision is about; each list holds glob patterns, and an empty list matches everything.

    `preference` and `user` are of whoever asks and hold plain words: preferences, and digests of user ids.
    """

    command: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    tool_effects: tuple[str, ...] = ()
    preference: tuple[str, ...] = ()
    user: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """One policy's optimization as it is to be applied now.

    `stage` is `shadow`, `canary-N` or `active`; `unit` is what is allocated (conversation, user,
    process); `salt` makes allocations of policies independent. `effects` states what tools do to
    the world, by glob over tool names (`read`, `write`). `finding` names the finding that caused it. `tuned` gives
    each treated unit a value of one parameter, in place of the one in `parameters`. `budgets` are what calls
    that it makes early are taken from.
    """

    policy: str
    digest: str
    optimization: str
    stage: str
    allocation: Allocation
    parameters: Mapping[str, object] = field(default_factory=dict)
    match: Match = Match()
    exclude: Match = Match()
    effects: Mapping[str, str] = field(default_factory=dict)
    unit: str = "conversation"
    salt: str = ""
    finding: str = ""
    tuned: Tuned | None = None
    budgets: tuple[EarlyShare, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything an agent needs to know; past `generated_at_ns` + `lease_s` treatment falls back to baseline."""

    generation: int = 0
    generated_at_ns: int = 0
    lease_s: float = 0.0
    killed: bool = False
    decisions: tuple[Decision, ...] = ()
    personalization: Personalization = NOTHING_PERSONAL

    def expired(self, now_ns: int) -> bool:
        """Tell whether the controller has been silent for longer than the lease."""
        return now_ns > self.generated_at_ns + int(self.lease_s * 1e9)

    def to_json(self) -> str:
        """Return the document as agents read it."""
        raw = {"version": SNAPSHOT_VERSION, **asdict(self)}
        for decision in raw["decisions"]:
            # What only adaptive policies have is left out of the others, which older agents can read as ever.
            if not decision["allocation"]["start"]:
                del decision["allocation"]["start"]
            for name in ("tuned", "budgets"):
                if not decision[name]:
                    del decision[name]
        return json.dumps(raw, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Snapshot:
        """Read a snapshot document.

        Raises:
            ValueError: the text is no JSON, of another version, or lacks a field.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.get("version") != SNAPSHOT_VERSION:
            raise ValueError("not a snapshot of version 1")
        try:
            return cls(
                generation=int(raw["generation"]),
                generated_at_ns=int(raw["generated_at_ns"]),
                lease_s=float(raw["lease_s"]),
                killed=bool(raw["killed"]),
                decisions=tuple(_decision(item) for item in raw["decisions"]),
                personalization=Personalization.read(raw.get("personalization")),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"snapshot lacks or misuses a field: {error}") from error


def _match(raw: Mapping[str, object]) -> Match:
    return Match(**{key: tuple(str(item) for item in _list(value)) for key, value in raw.items()})


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {type(value).__name__}")
    return value


def _decision(raw: Mapping[str, object]) -> Decision:
    fields = dict(raw)
    allocation, match, exclude = fields.pop("allocation"), fields.pop("match"), fields.pop("exclude")
    if not (isinstance(allocation, dict) and isinstance(match, dict) and isinstance(exclude, dict)):
        raise TypeError("allocation, match and exclude are objects")
    tuned, budgets = fields.pop("tuned", None), _list(fields.pop("budgets", []))
    return Decision(
        budgets=tuple(EarlyShare.read(one) for one in budgets if isinstance(one, dict)),
        tuned=Tuned.read(tuned) if isinstance(tuned, dict) else None,
        allocation=Allocation(**allocation),
        match=_match(match),
        exclude=_match(exclude),
        **fields,  # type: ignore[arg-type]  # unknown or missing names raise TypeError, which the caller reports
    )
