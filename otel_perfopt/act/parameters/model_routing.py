"""What a policy may set on `model_routing`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, whole


@dataclass(frozen=True, slots=True)
class ModelRoutingParameters:
    """Which `model` answers instead; requests beyond `max_context_chars` characters keep theirs (0: no bound)."""

    model: str
    max_context_chars: int = 0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> ModelRoutingParameters:
        """Check and convert.

        Raises:
            ValueError: no model, an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("model", "max_context_chars"))
        model = raw.get("model")
        if not isinstance(model, str) or not model:
            raise ValueError("model: must name the model that is to answer")
        return cls(model, whole(raw, "max_context_chars", 0, 0))
