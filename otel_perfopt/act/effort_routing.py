"""Less thinking where that is enough: a request in, the same request with its reasoning effort lowered out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.effort_routing import EFFORTS, EffortRoutingParameters
from otel_perfopt.signal.calls import InferenceCall
from otel_perfopt.signal.emit.sent_content import length

NAME: Final = "effort_routing"

# Models of OpenAI that reason without being asked to; others refuse the parameter.
_REASONS_ANYWAY = re.compile(r"(?:.*/)?(?:o[1-9]|gpt-5|gpt-oss)", re.ASCII)
# What a budget of thinking tokens stands for in words, and back; 1024 is the least that the provider takes.
_BUDGETS: Final[Mapping[str, int]] = {"none": 0, "minimal": 1024, "low": 2048, "medium": 8192, "high": 24_576}
_LEAST_BUDGET = 1024


class EffortRouting:
    """Lowers what a request asks for to what the policy allows; a request that asks for less is left alone."""

    name = NAME

    def rewrite(self, use: Use, call: InferenceCall) -> Mapping[str, Any]:
        """Return the arguments that say how much to think, lowered; nothing where they already say so little."""
        parameters = use.rule.parameters
        assert isinstance(parameters, EffortRoutingParameters)
        if parameters.max_context_chars and length(_messages(call)) > parameters.max_context_chars:
            return {}
        lowered = _LOWERED.get(call.api)
        return {} if lowered is None else lowered(parameters, call)


def _messages(call: InferenceCall) -> object:
    return call.kwargs.get("messages", call.kwargs.get("input"))


def _chat(parameters: EffortRoutingParameters, call: InferenceCall) -> dict[str, Any]:
    effort = _lowered(call, call.kwargs.get("reasoning_effort"), parameters.effort)
    return {} if effort is None else {"reasoning_effort": effort}


def _responses(parameters: EffortRoutingParameters, call: InferenceCall) -> dict[str, Any]:
    asked = call.kwargs.get("reasoning")
    reasoning: Mapping[str, Any] = asked if isinstance(asked, Mapping) else {}
    effort = _lowered(call, reasoning.get("effort"), parameters.effort)
    return {} if effort is None else {"reasoning": {**reasoning, "effort": effort}}


def _lowered(call: InferenceCall, asked: object, allowed: str) -> str | None:
    """Return the effort to ask for, or None to leave what was asked."""
    if asked not in EFFORTS:
        reasons = _REASONS_ANYWAY.match(call.model) is not None
        # A word we do not know may be less than what we would ask for.
        return allowed if reasons and not isinstance(asked, str) else None
    return allowed if EFFORTS.index(str(asked)) > EFFORTS.index(allowed) else None


def _anthropic(parameters: EffortRoutingParameters, call: InferenceCall) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    config = call.kwargs.get("output_config")
    if isinstance(config, Mapping) and config.get("effort") in EFFORTS:
        # The provider knows no word below this one.
        allowed = max(parameters.effort, "low", key=EFFORTS.index)
        if EFFORTS.index(config["effort"]) > EFFORTS.index(allowed):
            changes["output_config"] = {**config, "effort": allowed}
    thinking = call.kwargs.get("thinking")
    if isinstance(thinking, Mapping) and thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        allowed_tokens = parameters.thinking_tokens or _BUDGETS[parameters.effort]
        if isinstance(budget, int) and budget > max(allowed_tokens, _LEAST_BUDGET):
            changes["thinking"] = {**thinking, "budget_tokens": max(allowed_tokens, _LEAST_BUDGET)}
        if parameters.effort == "none" and not parameters.thinking_tokens:
            changes["thinking"] = {"type": "disabled"}
    return changes


_LOWERED = {"openai.chat": _chat, "openai.responses": _responses, "anthropic.messages": _anthropic}
