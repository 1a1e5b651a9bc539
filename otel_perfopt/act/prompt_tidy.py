"""Shorter instructions with the same meaning: a request in, the same with its instructions tidied out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.prompt_tidy import PromptTidyParameters
from otel_perfopt.act.tidy_text import tidied
from otel_perfopt.signal.calls import InferenceCall
from otel_perfopt.signal.emit.sent_content import getter, sequence

NAME: Final = "prompt_tidy"
MAX_TEXTS = 256
_INSTRUCTING_ROLES = frozenset({"system", "developer"})

# Instructions hardly ever change, and tidying the same text must give the same text.
_tidied = lru_cache(MAX_TEXTS)(tidied)


class PromptTidy:
    """Tidies system prompts and instructions; what users, tools and models said stays as it is."""

    name = NAME

    def rewrite(self, use: Use, call: InferenceCall) -> Mapping[str, Any]:
        """Return the instructions, tidied; nothing where there is nothing to tidy."""
        parameters = use.rule.parameters
        assert isinstance(parameters, PromptTidyParameters)
        changes: dict[str, Any] = {}
        for name in ("system", "instructions"):
            shorter = _content(parameters, call.kwargs.get(name))
            if shorter is not None:
                changes[name] = shorter
        for name in ("messages", "input"):
            messages = _messages(parameters, sequence(call.kwargs.get(name)))
            if messages is not None:
                changes[name] = messages
        return changes


def repeated_chars(text: str) -> int:
    """Return how many characters of instructions tidying would leave out, as it does unless a policy says otherwise."""
    default = PromptTidyParameters()
    shorter = _tidied(text, default.min_chars, default.drop_sections)
    return len(text) - len(shorter) if shorter else 0


def _messages(parameters: PromptTidyParameters, messages: list[Any] | tuple[Any, ...]) -> list[Any] | None:
    changed = False
    sent = list(messages)
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or getter(message)("role") not in _INSTRUCTING_ROLES:
            continue
        shorter = _content(parameters, message.get("content"))
        if shorter is not None:
            sent[index], changed = {**message, "content": shorter}, True
    return sent if changed else None


def _content(parameters: PromptTidyParameters, content: object) -> Any:
    """Return content with its texts tidied, or None where none of them is shorter for it."""
    if isinstance(content, str):
        shorter = _tidied(content, parameters.min_chars, parameters.drop_sections)
        return shorter if shorter and len(shorter) < len(content) else None
    parts = [_part(parameters, part) for part in sequence(content)]
    if all(part is None for part in parts):
        return None
    return [part or given for part, given in zip(parts, sequence(content), strict=True)]


def _part(parameters: PromptTidyParameters, part: object) -> dict[str, Any] | None:
    if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
        return None
    shorter = _content(parameters, part["text"])
    return None if shorter is None else {**part, "text": shorter}
