"""What a policy may set on `retry_hedge`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import number, refuse_unknown, seconds, switch, whole

_KNOWN = ("hedge_after_s", "hedge_quantile", "budget", "retries", "backoff_s", "on_overload")


@dataclass(frozen=True, slots=True)
class RetryHedgeParameters:
    """When a call is made a second time.

    A call that takes longer than the quantile `hedge_quantile` of earlier ones (or `hedge_after_s`, until
    enough of them are known) gets a twin, and the first reply counts. A call that failed for a passing reason
    is made again at most `retries` times, after a random part of `backoff_s`, twice as long each time. With
    `on_overload` that holds for refusals for overload too, after the pause that they ask for. All that together
    is at most the share `budget` of the calls made.
    """

    hedge_after_s: float = 10.0
    hedge_quantile: float = 0.95
    budget: float = 0.05
    retries: int = 0
    backoff_s: float = 0.5
    on_overload: bool = False

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> RetryHedgeParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, _KNOWN)
        default = cls()
        return cls(
            hedge_after_s=seconds(raw, "hedge_after_s", default.hedge_after_s),
            hedge_quantile=number(raw, "hedge_quantile", default.hedge_quantile, 0.5, 0.999),
            budget=number(raw, "budget", default.budget, 0, 0.5),
            retries=whole(raw, "retries", default.retries, 0),
            backoff_s=seconds(raw, "backoff_s", default.backoff_s),
            on_overload=switch(raw, "on_overload", default=default.on_overload),
        )
