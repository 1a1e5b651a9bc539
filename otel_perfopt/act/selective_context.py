"""Context when it is needed: a request in, the same without reference sections, tools and turns nobody asks for out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.cache_floor import CacheFloor
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
    conversation that has gone out whole stays whole. So does, from its first request on that is large
    enough for the provider's cache, one that would be too small for it when shortened.
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
        floor = CacheFloor(call.model)
        given = _given(call)
        changes = _shortened(parameters, call, given, floor)
        if not changes:
            return {}
        if _cheaper_whole(parameters, call, given, floor):
            count(call.run, use.policy, conventions.POLICY_LEFT_WHOLE)
            # Shadow asks whether anything needed is left out; that is as well known where nothing is to be saved.
            return changes if use.shadow else {}
        saved = sum(length(call.kwargs.get(name)) - length(value) for name, value in changes.items()) // CHARS_A_TOKEN
        # Also where nothing is saved any more: what was once left out stays so, or the sent prefix would change.
        if not use.shadow:
            before = call.span_attributes.get(conventions.CONTEXT_SAVED_TOKENS, 0)
            call.span_attributes[conventions.CONTEXT_SAVED_TOKENS] = max(0, before + saved)
        count(call.run, use.policy, conventions.POLICY_SAVED_TOKENS, max(0, saved))
        return changes


def _field(call: InferenceCall) -> str:
    return "input" if call.api == "openai.responses" else "messages"


def _given(call: InferenceCall) -> Sequence[Any]:
    said = call.kwargs.get(_field(call))
    return [{"role": "user", "content": said}] if isinstance(said, str) else sequence(said)


def _shortened(
    parameters: SelectiveContextParameters, call: InferenceCall, given: Sequence[Any], floor: CacheFloor
) -> dict[str, Any]:
    """Return what is to be sent instead where the messages are `given`; nothing where all is needed."""
    tools = _without_tools(parameters, call, given)
    begin, end = history_span(given, parameters.max_history_chars)
    if end > begin:
        cut = {_field(call): [*given[:begin], *given[end:]]}
        cut |= with_sections(call.api, call.kwargs, _field(call), cut[_field(call)], parameters) | tools
        # By this and not by what is left now: a cut that came and went would change the prefix each time.
        least_left = _size(call, given, cut) - length(given[end:]) + parameters.max_history_chars // 2
        if not floor.refuses(_size(call, given, {}), least_left):
            return cut
    return with_sections(call.api, call.kwargs, _field(call), given, parameters) | tools


def _cheaper_whole(
    parameters: SelectiveContextParameters, call: InferenceCall, given: Sequence[Any], floor: CacheFloor
) -> bool:
    """Tell whether the conversation's first request that could be cached whole could not be cached shortened.

    Requests before it were too small either way, so nothing is lost where those went out shortened. It is
    found in what is sent now: every later request, from whichever process, comes to the same.
    """
    if not floor.most:
        return False  # a model without a known floor: nothing to be worked out for each request
    for end in _request_ends(call, given):
        begun = given[:end]
        whole = _size(call, begun, {})
        if whole >= floor.least:
            return floor.refuses(whole, _size(call, begun, _shortened(parameters, call, begun, floor)))
    return False


def _request_ends(call: InferenceCall, given: Sequence[Any]) -> Iterator[int]:
    """Yield how many of the messages each request of the conversation so far had."""
    if call.kwargs.get("previous_response_id") or call.kwargs.get("conversation"):
        yield 0  # the provider holds what was said before; instructions and tools are all that every request has
        return
    for place in range(1, len(given)):
        if _by_model(given[place]) and not _by_model(given[place - 1]):
            yield place
    yield len(given)


def _by_model(message: object) -> bool:
    get = getter(message)
    kind = text(get("type"))
    return bool(get("role") == "assistant" or kind == "reasoning" or kind.endswith("_call"))


def _size(call: InferenceCall, given: Sequence[Any], changes: Mapping[str, Any]) -> int:
    """Return the characters of a request with these messages and changes: of what a provider's prefix consists of."""
    sent = {**call.kwargs, _field(call): given, **changes}
    return sum(length(sent.get(name)) for name in ("system", "instructions", "tools", _field(call)))


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
