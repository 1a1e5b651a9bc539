"""Prompts that a provider recognises: a request in, the same with breakpoints, a routing key and tools in their old order out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.prompt_cache import PromptCacheParameters
from otel_perfopt.act.tool_results import offered_name
from otel_perfopt.signal.calls import InferenceCall
from otel_perfopt.signal.emit.sent_content import getter, length, sequence

NAME: Final = "prompt_cache"
MAX_TOOL_SETS = 256
_CHARS_A_TOKEN = 4
_DEPTH = 6


class PromptCache:
    """Says where a prompt's stable part ends, and keeps it stable; its meaning and the order of messages stay.

    A request in which the agent placed breakpoints or a key itself is left as the agent made it.
    Anthropic: the end of the system prompt (tools come before it) and the end of the last message.
    OpenAI caches prefixes by itself; a `prompt_cache_key` sends what begins alike to the same machine.
    """

    name = NAME

    def __init__(self) -> None:
        self._tool_orders: OrderedDict[tuple[str, frozenset[str]], tuple[str, ...]] = OrderedDict()

    def rewrite(self, use: Use, call: InferenceCall) -> Mapping[str, Any]:
        """Return what is to be sent so that the prefix is found again."""
        parameters = use.rule.parameters
        assert isinstance(parameters, PromptCacheParameters)
        if length([call.kwargs.get(name) for name in _PROMPT_PARTS]) < parameters.min_tokens * _CHARS_A_TOKEN:
            return {}
        changes: dict[str, Any] = {}
        if parameters.stable_tools:
            tools = self._in_first_order(call)
            if tools is not None:
                changes["tools"] = tools
        marked = _breakpoints if call.api == "anthropic.messages" else _routing_key
        return {**changes, **marked(parameters, call, {**call.kwargs, **changes})}

    def _in_first_order(self, call: InferenceCall) -> list[Any] | None:
        """Return the tools in the order in which this set of them was first sent; None where they are."""
        tools = sequence(call.kwargs.get("tools"))
        names = tuple(offered_name(tool) for tool in tools)
        known = frozenset(names)
        if len(known) < 2 or len(known) != len(names) or "" in known:
            return None
        first = self._tool_orders.setdefault((call.api, known), names)
        while len(self._tool_orders) > MAX_TOOL_SETS:
            self._tool_orders.popitem(last=False)
        if first == names:
            return None
        by_name = dict(zip(names, tools, strict=True))
        return [by_name[name] for name in first]

    def after_fork(self) -> None:
        """Keep what was learned: orders are values, and no lock is held."""


_PROMPT_PARTS = ("system", "instructions", "tools", "messages", "input")


def _routing_key(parameters: PromptCacheParameters, call: InferenceCall, sent: Mapping[str, Any]) -> dict[str, Any]:
    if sent.get("prompt_cache_key") or (parameters.key == "conversation" and not call.run.conversation_id):
        return {}
    if parameters.key == "conversation":
        told = call.run.conversation_id
    else:
        names = [offered_name(tool) for tool in sequence(sent.get("tools"))]
        told = repr((sent.get("model"), _beginning(sent), names))
    return {"prompt_cache_key": blake2b(told.encode("utf-8", "replace"), digest_size=16).hexdigest()}


def _beginning(sent: Mapping[str, Any]) -> str:
    """Return what every request of the kind begins with: instructions, else the first message of the system."""
    if isinstance(sent.get("instructions"), str):
        return str(sent["instructions"])
    for message in sequence(sent.get("messages", sent.get("input")))[:1]:
        get = getter(message)
        if get("role") in ("system", "developer"):
            return repr(get("content"))
    return ""


def _breakpoints(
    parameters: PromptCacheParameters,
    call: InferenceCall,  # noqa: ARG001 - both ways of marking are called alike
    sent: Mapping[str, Any],
) -> dict[str, Any]:
    if "cache_control" in sent or any(_is_marked(sent.get(name)) for name in ("system", "tools", "messages")):
        return {}
    mark = {"type": "ephemeral"} if parameters.lifetime == "5m" else {"type": "ephemeral", "ttl": parameters.lifetime}
    changes: dict[str, Any] = {}
    system, tools = _with_mark(sent.get("system"), mark), sequence(sent.get("tools"))
    if system is not None:
        changes["system"] = system
    elif tools and isinstance(tools[-1], Mapping):
        changes["tools"] = [*tools[:-1], {**tools[-1], "cache_control": mark}]
    messages = sequence(sent.get("messages"))
    # One message without tools is one question: nobody will send it again with more behind it.
    if messages and (tools or len(messages) > 1):
        last = _marked_message(messages[-1], mark)
        if last is not None:
            changes["messages"] = [*messages[:-1], last]
    return changes


def _marked_message(message: object, mark: Mapping[str, str]) -> dict[str, Any] | None:
    if not isinstance(message, Mapping) or message.get("role") != "user":
        return None
    content = _with_mark(message.get("content"), mark)
    return None if content is None else {**message, "content": content}


def _with_mark(content: object, mark: Mapping[str, str]) -> list[Any] | None:
    """Return content as blocks with a breakpoint on the last; None where it can have none."""
    if isinstance(content, str):
        return [{"type": "text", "text": content, "cache_control": dict(mark)}] if content.strip() else None
    blocks = sequence(content)
    if not blocks or not isinstance(blocks[-1], Mapping) or blocks[-1].get("type") in ("thinking", "redacted_thinking"):
        return None
    return [*blocks[:-1], {**blocks[-1], "cache_control": dict(mark)}]


def _is_marked(value: object, depth: int = _DEPTH) -> bool:
    if isinstance(value, Mapping):
        return "cache_control" in value or (depth > 0 and any(_is_marked(item, depth - 1) for item in value.values()))
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return depth > 0 and any(_is_marked(item, depth - 1) for item in value)
    return False
