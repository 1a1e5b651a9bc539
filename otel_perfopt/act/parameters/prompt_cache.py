"""What a policy may set on `prompt_cache`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, switch, whole, word

KEYS = ("prefix", "conversation")
LIFETIMES = ("5m", "1h")


@dataclass(frozen=True, slots=True)
class PromptCacheParameters:
    """How a provider is helped to recognise what it has read before.

    Requests of fewer than `min_tokens` (estimated) are left alone, since no provider keeps so little.
    `lifetime` is how long a breakpoint's prefix is kept; `key` which requests share a routing key: those
    that begin alike, or those of one conversation. With `stable_tools` the same set of tools is
    always sent in the order in which it was first sent.
    """

    min_tokens: int = 1024
    lifetime: str = "5m"
    key: str = "prefix"
    stable_tools: bool = True

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> PromptCacheParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("min_tokens", "lifetime", "key", "stable_tools"))
        default = cls()
        return cls(
            min_tokens=whole(raw, "min_tokens", default.min_tokens),
            lifetime=word(raw, "lifetime", default.lifetime, LIFETIMES),
            key=word(raw, "key", default.key, KEYS),
            stable_tools=switch(raw, "stable_tools", default=default.stable_tools),
        )
