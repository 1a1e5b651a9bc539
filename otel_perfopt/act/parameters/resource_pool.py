"""What a policy may set on `resource_pool`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, seconds


@dataclass(frozen=True, slots=True)
class ResourcePoolParameters:
    """How long certificates that were read once are used for new clients."""

    max_age_s: float = 3600.0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ResourcePoolParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("max_age_s",))
        return cls(seconds(raw, "max_age_s", cls().max_age_s))
