"""What the life cycle is told about one policy, as plain values: comparison, shadow, condition, switches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BETTER = "better"
WORSE = "worse"
INCONCLUSIVE = "inconclusive"
WAITING = "waiting"
NOT_COMPARED = ""


@dataclass(frozen=True, slots=True)
class Retained:
    """Of what replies used of a context, the share that the shorter one still had: mean over units, and bounds of it."""

    units: int
    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%}; {self.units} units) of what replies used"


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What shadow showed: calls watched, results that would have been wrong, and faults of our own.

    `retained` is what a shorter context would have kept; None where nobody was seen to use anything of it.
    """

    calls: int
    wrong_results: int = 0
    faults: int = 0
    retained: Retained | None = None

    @property
    def is_clean(self) -> bool:
        """Whether something was watched and nothing was wrong."""
        return self.calls > 0 and not self.wrong_results and not self.faults


@dataclass(frozen=True, slots=True)
class Observation:
    """What was observed of one policy since its stage began; the defaults say that nothing was.

    `conclusion` and `reason` are the verdict's; without one nothing was compared, and no limit ends it.
    `stage_units` counts enrolled units of both arms in this stage, `total_units` those of all canary
    stages. `mismatch` is a sample-ratio mismatch; `faults` counts exceptions of the optimization;
    `lost_benefit` says the hold-back no longer differs. `when_met` answers the policy's `when`: None means that nobody could tell yet;
    `when_reason` and `when_numbers` say by what, where it is a live measure.
    `since_ns` is when the observed state began; given, the observation is of that state and no other.
    `outcome` is what the comparison measured, as plain JSON data for the ledger. While `held`, nothing new is exposed:
    it is not the time.
    """

    conclusion: str = NOT_COMPARED
    reason: str = ""
    stage_units: int = 0
    total_units: int = 0
    mismatch: bool = False
    faults: int = 0
    shadow: ShadowReport | None = None
    lost_benefit: bool = False
    when_met: bool | None = None
    since_ns: int | None = None
    outcome: Mapping[str, Any] = field(default_factory=dict)
    when_reason: str = ""
    when_numbers: Mapping[str, Any] = field(default_factory=dict)
    held: bool = False

    def of_condition(self) -> Observation:
        """Return what it says of the policy's `when`, which holds whatever stage the policy is in."""
        return Observation(when_met=self.when_met, when_reason=self.when_reason, when_numbers=self.when_numbers)

    @property
    def shows_harm(self) -> bool:
        """Whether it takes the policy back: that holds however much is still unread."""
        spoilt = self.shadow is not None and self.shadow.calls > 0 and not self.shadow.is_clean
        return self.conclusion == WORSE or self.faults > 0 or spoilt


@dataclass(frozen=True, slots=True)
class Extension:
    """What a person adds to the limits of a comparison: units of both arms, and seconds of exposure."""

    units: int = 0
    duration_s: float = 0.0


NO_EXTENSION = Extension()
NOTHING_OBSERVED = Observation()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a transition may depend on besides the policy and its state.

    `digest` is of the policy as it is declared now; empty means that its file is gone.
    `violations` are what boundaries forbid in it. `killed` is the switch for everything,
    `killed_alone` the one for this policy.
    """

    now_ns: int
    digest: str
    observation: Observation = NOTHING_OBSERVED
    violations: tuple[str, ...] = ()
    killed: bool = False
    killed_alone: bool = False
