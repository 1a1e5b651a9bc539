"""What a policy may set on `gc_tuning`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, seconds, switch, whole


@dataclass(frozen=True, slots=True)
class GcTuningParameters:
    """How the garbage collector works in this process.

    `threshold` is how many more objects there may be before it looks at the young ones (0: as it is);
    `freeze` takes what is there after the start out of its sight. With `collect_idle` it collects when no
    command has been open for `idle_s` and some ran since, and with `trim` freed memory then goes back to the system.
    """

    threshold: int = 10_000
    freeze: bool = True
    collect_idle: bool = True
    idle_s: float = 1.0
    trim: bool = True

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> GcTuningParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("threshold", "freeze", "collect_idle", "idle_s", "trim"))
        default = cls()
        return cls(
            threshold=whole(raw, "threshold", default.threshold, 0),
            freeze=switch(raw, "freeze", default=default.freeze),
            collect_idle=switch(raw, "collect_idle", default=default.collect_idle),
            idle_s=seconds(raw, "idle_s", default.idle_s),
            trim=switch(raw, "trim", default=default.trim),
        )
