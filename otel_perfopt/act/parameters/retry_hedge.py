"""What a policy may set on `retry_hedge`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from otel_perfopt.act.parameters.reading import number, refuse_unknown, seconds, switch, texts, whole
from otel_perfopt.decide.decision import Match

_KNOWN = (
    "hedge_after_s",
    "hedge_quantile",
    "budget",
    "retries",
    "backoff_s",
    "on_overload",
    "tools",
    "tool_retries",
    "transient",
    "max_wait_s",
)
# A model's client has made tries of its own when its call fails; a tool has made none unless it says so.
TOOL_RETRIES = 2


@dataclass(frozen=True, slots=True)
class RetryHedgeParameters:
    """When a call is made a second time.

    A call that takes longer than the quantile `hedge_quantile` of earlier ones (or `hedge_after_s`, until
    enough of them are known) gets a twin, and the first reply counts. A call that failed for a passing reason
    is made again at most `retries` times, after a random part of `backoff_s`, twice as long each time. With
    `on_overload` that holds for refusals for overload too, after the pause that they ask for. All that together
    is at most the share `budget` of the calls made.

    `tools` says whether calls of read-only tools are made again: all that the policy matches, those that a glob of
    it names, or none; None: where the policy's `match` names tools. `transient` adds exceptions that pass, by
    class. A call of a tool is made again at most `tool_retries` times (None: `retries`, or 2 where that is none), also
    where it was refused for overload, and waits at most `max_wait_s` between all its tries together.
    """

    hedge_after_s: float = 10.0
    hedge_quantile: float = 0.95
    budget: float = 0.05
    retries: int = 0
    backoff_s: float = 0.5
    on_overload: bool = False
    tools: bool | tuple[str, ...] | None = None
    tool_retries: int | None = None
    transient: tuple[str, ...] = ()
    max_wait_s: float = 10.0

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
            tools=_tools(raw),
            tool_retries=None if raw.get("tool_retries") is None else whole(raw, "tool_retries", 0, 0),
            transient=texts(raw, "transient"),
            max_wait_s=seconds(raw, "max_wait_s", default.max_wait_s),
        )

    @property
    def tries_of_tools(self) -> int:
        """How often a call of a tool may be made again."""
        return self.tool_retries if self.tool_retries is not None else self.retries or TOOL_RETRIES

    def is_about_models(self, match: Match) -> bool:
        """Tell whether requests to models are meant: not by a policy that names tools and no models."""
        return not match.tool or bool(match.model)

    def is_about_tools(self, match: Match) -> bool:
        """Tell whether calls of tools are meant."""
        return bool(match.tool) if self.tools is None else bool(self.tools)

    def is_about(self, tool: str) -> bool:
        """Tell whether calls of this tool are meant, among those that the policy matches."""
        return not isinstance(self.tools, tuple) or any(fnmatchcase(tool, glob) for glob in self.tools)


def _tools(raw: Mapping[str, object]) -> bool | tuple[str, ...] | None:
    given = raw.get("tools")
    return given if given is None or isinstance(given, bool) else texts(raw, "tools")
