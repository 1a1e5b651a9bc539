"""What the first units of a comparison fix for all processes: starts of stages and frozen values, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_perfopt.verify.evidence import Stratum

# Where a unit stands in the order of enrolment: its `first_ns`, then its id.
Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Frozen:
    """A value that a metric's tests compare against, and the unit that completed it."""

    value: float
    place: Place


@dataclass(frozen=True, slots=True)
class Opening:
    """When each stage began, and what was frozen in it by metric.

    The one process that sees the beginning hands it to the others. From then on each counts its own
    units, and their sums merge to what one process would have counted.
    """

    started_ns: Mapping[Stratum, int] = field(default_factory=dict)
    frozen: Mapping[tuple[str, Stratum], Frozen] = field(default_factory=dict)
