"""Another model where that is enough: a request in, the same request to the model that a policy names out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.model_routing import ModelRoutingParameters
from otel_perfopt.signal.calls import InferenceCall
from otel_perfopt.signal.emit.sent_content import length

NAME: Final = "model_routing"
_KEPT_LARGE = "perfopt.act.model_routing.large"


class ModelRouting:
    """Names another model of the same provider; a run that once grew beyond the bound keeps the agent's model."""

    name = NAME

    def rewrite(self, use: Use, call: InferenceCall) -> Mapping[str, Any]:
        """Return the model to ask instead."""
        parameters = use.rule.parameters
        assert isinstance(parameters, ModelRoutingParameters)
        # Changing the model in the middle of a run throws the provider's cache of its prefix away, each time.
        bound, slots = parameters.max_context_chars, call.run.slots
        if bound and (_KEPT_LARGE in slots or length(call.kwargs.get("messages", call.kwargs.get("input"))) > bound):
            slots[_KEPT_LARGE] = True
            return {}
        return {} if call.kwargs.get("model") == parameters.model else {"model": parameters.model}
