"""What a policy may set on `context_compression`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, switch, whole

_SWITCHES = ("tables", "repeats", "changes")


@dataclass(frozen=True, slots=True)
class ContextCompressionParameters:
    """How results of tools are shortened when they enter the context.

    `tables` says JSON without spaces and lists of equal objects as tables; `repeats` names the earlier
    result that a result repeats; `changes` says only what changed since the same tool's last result. None of
    these loses anything. `max_chars` does: of longer results only the beginning and the end stay (0: off).
    What saves fewer than `min_saving` characters is left alone.
    """

    min_saving: int = 200
    tables: bool = True
    repeats: bool = True
    changes: bool = True
    max_chars: int = 0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ContextCompressionParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("min_saving", "max_chars", *_SWITCHES))
        default = cls()
        return cls(
            min_saving=whole(raw, "min_saving", default.min_saving),
            **{name: switch(raw, name, default=True) for name in _SWITCHES},
            max_chars=whole(raw, "max_chars", default.max_chars, 0),
        )
