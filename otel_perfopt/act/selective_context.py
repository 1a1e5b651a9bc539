"""Context when it is needed: a request in, the same without reference sections, tools and turns nobody asks for out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.history import history_span
from otel_perfopt.act.parameters.selective_context import SelectiveContextParameters
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.section_loading import with_sections
from otel_perfopt.act.sections import fits
from otel_perfopt.act.sent_plain import SentPlain
from otel_perfopt.act.shorter_text import CHARS_A_TOKEN
from otel_perfopt.act.tool_results import offered_name
from otel_perfopt.signal.calls import InferenceCall
from otel_perfopt.signal.emit.sent_content import getter, length, sequence, text

NAME: Final = "selective_context"


class SelectiveContext:
    """Sends an outline of reference sections and puts each where it is first needed, behind what asked for it.

    The instructions stay the same for every conversation, so the provider's cache of them holds; what
    is put into a conversation depends only on what stands before, so a prefix that was sent stays. A
    conversation that has gone out whole stays whole.
    """

    name = NAME

    def __init__(self, sent_plain: SentPlain) -> None:
        self._sent_plain = sent_plain

    def rewrite(self, use: Use, call: InferenceCall) -> Mapping[str, Any]:
        """Return the instructions, messages and tools to send; nothing where all of them are needed."""
        parameters = use.rule.parameters
        assert isinstance(parameters, SelectiveContextParameters)
        # In shadow every conversation goes out whole; what is watched is what would have been sent from its beginning.
        if not use.shadow and call.run.conversation_id in self._sent_plain:
            return {}
        field = "input" if call.api == "openai.responses" else "messages"
        given = sequence(call.kwargs.get(field))
        begin, end = history_span(given, parameters.max_history_chars)
        messages = [*given[:begin], *given[end:]]
        changes: dict[str, Any] = {field: messages} if end > begin else {}
        changes |= with_sections(call.api, call.kwargs, field, messages, parameters)
        changes |= _without_tools(parameters, call, given)
        saved = sum(length(call.kwargs.get(name)) - length(value) for name, value in changes.items()) // CHARS_A_TOKEN
        if not changes:
            return {}
        # Also where nothing is saved any more: what was once left out stays so, or the sent prefix would change.
        if not use.shadow:
            before = call.span_attributes.get(conventions.CONTEXT_SAVED_TOKENS, 0)
            call.span_attributes[conventions.CONTEXT_SAVED_TOKENS] = max(0, before + saved)
        count(call.run, use.policy, conventions.POLICY_SAVED_TOKENS, max(0, saved))
        return changes


def _without_tools(
    parameters: SelectiveContextParameters, call: InferenceCall, messages: Sequence[Any]
) -> dict[str, Any]:
    tools = sequence(call.kwargs.get("tools"))
    if not parameters.drop_tools or not tools:
        return {}
    used = _used_tools(messages)
    kept = [tool for tool in tools if offered_name(tool) in used or not fits(offered_name(tool), parameters.drop_tools)]
    # Without any tool a request may mean something else altogether (and providers refuse `tool_choice`).
    return {"tools": kept} if kept and len(kept) < len(tools) else {}


def _used_tools(messages: Sequence[Any]) -> set[str]:
    """Return the names of the tools that a conversation called, whatever the API."""
    names: set[str] = set()
    for message in messages:
        get = getter(message)
        names.update(text(getter(getter(asked)("function") or {})("name")) for asked in sequence(get("tool_calls")))
        if get("type") == "function_call":
            names.add(text(get("name")))
        blocks = (getter(block) for block in sequence(get("content")))
        names.update(text(block("name")) for block in blocks if block("type") == "tool_use")
    return names
