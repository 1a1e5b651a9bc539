"""The official Anthropic client's messages: an imported client module in, its calls taken over out."""

from __future__ import annotations

from otel_perfopt.signal.emit.interception import Interception
from otel_perfopt.signal.frameworks.anthropic_messages_reply import MessageEvents, message_reply
from otel_perfopt.signal.frameworks.anthropic_messages_request import message_request
from otel_perfopt.signal.frameworks.model_client import (
    ModelClient,
    around_async_call,
    around_async_manager,
    around_call,
    around_manager,
    take_methods,
)

MODULES = ("anthropic.resources.messages.messages", "anthropic.resources.beta.messages.messages")
_CLIENT = ModelClient("anthropic", message_request, message_reply, MessageEvents, "anthropic.messages")
_SYNC, _ASYNC = around_call(_CLIENT), around_async_call(_CLIENT)
_METHODS = {
    "Messages": {"create": _SYNC, "parse": _SYNC, "stream": around_manager(_CLIENT)},
    "AsyncMessages": {"create": _ASYNC, "parse": _ASYNC, "stream": around_async_manager(_CLIENT)},
}


def instrument_module(module: object) -> list[Interception]:
    """Take over the messages of an imported client module; what undoes it is returned."""
    return take_methods(module, _METHODS)
