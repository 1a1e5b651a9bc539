"""The official OpenAI client's Responses API: an imported client module in, its calls taken over out."""

from __future__ import annotations

from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.frameworks.model_client import ModelClient, around_async_call, around_call, take_methods
from otel_perfopt.signal.frameworks.openai_responses_reply import ResponseEvents, response_reply
from otel_perfopt.signal.frameworks.openai_responses_request import response_request

MODULES = ("openai.resources.responses.responses",)
_CLIENT = ModelClient("openai responses", response_request, response_reply, ResponseEvents, "openai.responses")
_SYNC, _ASYNC = around_call(_CLIENT), around_async_call(_CLIENT)
# `stream` makes its request through `create`; `retrieve` makes no call of a model.
_METHODS = {
    "Responses": {"create": _SYNC, "parse": _SYNC},
    "AsyncResponses": {"create": _ASYNC, "parse": _ASYNC},
}


def instrument_module(module: object) -> list[Interception]:
    """Take over the Responses API of an imported client module; what undoes it is returned."""
    return take_methods(module, _METHODS)
