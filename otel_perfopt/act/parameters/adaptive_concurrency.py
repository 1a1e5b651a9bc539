"""What a policy may set on `adaptive_concurrency`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import number, refuse_unknown, seconds, whole

_KNOWN = ("initial", "min_concurrency", "max_concurrency", "backoff", "max_wait_s", "priorities")
PRIORITY_WORDS = ("high", "normal", "low")


@dataclass(frozen=True, slots=True)
class AdaptiveConcurrencyParameters:
    """How many calls of a model may be under way, and who comes first.

    The limit begins at `initial` and moves between `min_concurrency` and `max_concurrency`; a refusal for
    overload leaves `backoff` of it. `priorities` maps globs over commands to high, normal or low; the most
    literal glob wins. Nobody waits longer than `max_wait_s`: then the call is made anyway.
    """

    initial: int = 8
    min_concurrency: int = 1
    max_concurrency: int = 64
    backoff: float = 0.7
    max_wait_s: float = 30.0
    priorities: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> AdaptiveConcurrencyParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, _KNOWN)
        default = cls()
        least = whole(raw, "min_concurrency", default.min_concurrency)
        most = whole(raw, "max_concurrency", default.max_concurrency)
        initial = whole(raw, "initial", min(max(default.initial, least), most))
        if not least <= initial <= most:
            raise ValueError("initial: must lie between min_concurrency and max_concurrency")
        return cls(
            initial=initial,
            min_concurrency=least,
            max_concurrency=most,
            backoff=number(raw, "backoff", default.backoff, 0.1, 0.99),
            max_wait_s=seconds(raw, "max_wait_s", default.max_wait_s),
            priorities=_priorities(raw.get("priorities", {})),
        )


def _priorities(raw: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(raw, Mapping) or not all(word in PRIORITY_WORDS for word in raw.values()):
        raise ValueError("priorities: must map globs over commands to high, normal or low")
    return tuple(sorted(((str(glob), str(word)) for glob, word in raw.items()), key=lambda item: -len(item[0])))
