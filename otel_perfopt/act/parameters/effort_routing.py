"""What a policy may set on `effort_routing`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, whole, word

# From the least to the most thinking; what a provider lacks is its nearest neighbour below.
EFFORTS = ("none", "minimal", "low", "medium", "high")


@dataclass(frozen=True, slots=True)
class EffortRoutingParameters:
    """How much a model is to think.

    `effort` is the most a request may ask for: one that asks for more, or leaves it to a model that
    reasons, is lowered to it; less stays less. `thinking_tokens` bounds a thinking budget where the
    provider has one (0: derived from `effort`). Requests beyond `max_context_chars` characters of
    messages are left as they are (0: no bound).
    """

    effort: str = "low"
    thinking_tokens: int = 0
    max_context_chars: int = 0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> EffortRoutingParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("effort", "thinking_tokens", "max_context_chars"))
        default = cls()
        return cls(
            effort=word(raw, "effort", default.effort, EFFORTS),
            thinking_tokens=whole(raw, "thinking_tokens", default.thinking_tokens, 0),
            max_context_chars=whole(raw, "max_context_chars", default.max_context_chars, 0),
        )
