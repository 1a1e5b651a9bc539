"""Who gets which arm: a unit's id in, `treatment`, `baseline` or nothing out."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

TREATMENT = "treatment"
BASELINE = "baseline"
_SCALE = float(1 << 64)


@dataclass(frozen=True, slots=True)
class Allocation:
    """Shares of all units in each arm; together at most 1. Units in neither arm run as baseline, uncompared.

    `start` is where treatment begins in the unit interval: policies that are alternatives share one salt
    and lie beside each other.
    """

    treatment: float = 0.0
    baseline: float = 0.0
    start: float = 0.0

    @property
    def treatment_share(self) -> float:
        """π: the share of treatment among the enrolled units; 0 when nobody is enrolled."""
        enrolled = self.treatment + self.baseline
        return self.treatment / enrolled if enrolled else 0.0

    def arm(self, salt: str, unit: str) -> str | None:
        """Return the arm of `unit`, or None when it is not enrolled.

        Treatment fills the unit interval from `start` on and baseline from the right, so a ramp only
        ever adds units to an arm and never swaps one.
        """
        position = _position(salt, unit)
        if self.start <= position < self.start + self.treatment:
            return TREATMENT
        return BASELINE if position >= 1.0 - self.baseline else None


def _position(salt: str, unit: str) -> float:
    digest = blake2b(f"{salt}:{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / _SCALE
