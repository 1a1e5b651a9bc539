"""The official OpenAI client's chat completions: an imported client module in, its calls taken over out."""

from __future__ import annotations

from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.frameworks.model_client import ModelClient, around_async_call, around_call, take_methods
from otel_perfopt.signal.frameworks.openai_reply import ChatStream, reply_of
from otel_perfopt.signal.frameworks.openai_request import request_of

# Where the classes live in the client's versions since 1.0, and what makes a request by itself.
MODULES = (
    "openai.resources.chat.completions",
    "openai.resources.chat.completions.completions",
    "openai.resources.beta.chat.completions",
)
_CLIENT = ModelClient("openai", request_of, reply_of, ChatStream, "openai.chat")
_SYNC, _ASYNC = around_call(_CLIENT), around_async_call(_CLIENT)
_METHODS = {
    "Completions": {"create": _SYNC, "parse": _SYNC},
    "AsyncCompletions": {"create": _ASYNC, "parse": _ASYNC},
}


def instrument_module(module: object) -> list[Interception]:
    """Take over the chat completions of an imported client module; what undoes it is returned."""
    return take_methods(module, _METHODS)
