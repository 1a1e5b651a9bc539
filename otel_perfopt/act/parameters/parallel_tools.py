"""What a policy may set on `parallel_tools`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, seconds, whole
from otel_perfopt.act.parameters.tools import ToolParameters, read_invalidates


@dataclass(frozen=True, slots=True)
class ParallelToolsParameters(ToolParameters):
    """How `parallel_tools` starts calls early; `max_concurrency` bounds the calls of one reply that run early at once."""

    max_concurrency: int = 8

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ParallelToolsParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("max_concurrency", "max_wait_s", "invalidates"))
        default = cls()
        invalidates, complete = read_invalidates(raw)
        return cls(
            max_concurrency=whole(raw, "max_concurrency", default.max_concurrency),
            max_wait_s=seconds(raw, "max_wait_s", default.max_wait_s),
            invalidates=invalidates,
            complete=complete,
        )
