"""Tool results in fewer tokens: a request in, the same with its results shortened as they were when first sent out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.context_compression import ContextCompressionParameters
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.sent_plain import SentPlain
from otel_perfopt.act.shorter_text import CHARS_A_TOKEN, changes_since, compact_json, head_and_tail, lines_of, shortest
from otel_perfopt.act.text_memo import TextMemo
from otel_perfopt.act.tool_results import ToolResult, results_in, with_texts
from otel_perfopt.signal.calls import InferenceCall

NAME: Final = "context_compression"
MAX_BASES: Final = 12
_REPEAT = "[the same as the result of call {}]"


class ContextCompression:
    """Shortens each result once, when it enters the context, and the same way ever after.

    What a result becomes depends on what stands before it and on nothing else: so a prefix that was
    sent is sent again unchanged, from whichever process, and where the agent drops early messages nothing
    refers to them any more. A conversation that has gone out unchanged stays so. The agent keeps the results
    as its tools gave them.
    """

    name = NAME

    def __init__(self, sent_plain: SentPlain) -> None:
        self._sent_plain = sent_plain
        self._memo = TextMemo()

    def rewrite(self, use: Use, call: InferenceCall) -> Mapping[str, Any]:
        """Return the messages with shorter results; nothing where none is shorter."""
        parameters = use.rule.parameters
        assert isinstance(parameters, ContextCompressionParameters)
        # In shadow every conversation goes out whole; what is watched is what would have been sent from its beginning.
        if not use.shadow and call.run.conversation_id in self._sent_plain:
            return {}
        texts: dict[tuple[int, int], str] = {}
        saved = 0
        for result, shorter in self._shortened(use, parameters, results_in(call.api, call.kwargs)):
            texts[result.place] = shorter
            saved += len(result.text) - len(shorter)
        if not texts:
            return {}
        tokens = saved // CHARS_A_TOKEN
        if not use.shadow:
            before = call.span_attributes.get(conventions.CONTEXT_SAVED_TOKENS, 0)
            call.span_attributes[conventions.CONTEXT_SAVED_TOKENS] = before + tokens
        count(call.run, use.policy, conventions.POLICY_SAVED_TOKENS, tokens)
        return with_texts(call.api, call.kwargs, texts)

    def after_fork(self) -> None:
        """Make the lock anew; what was made of texts holds."""
        self._memo.after_fork()

    def _shortened(
        self, use: Use, parameters: ContextCompressionParameters, results: Sequence[ToolResult]
    ) -> Iterator[tuple[ToolResult, str]]:
        """Yield the results that are sent shorter, each with what is sent instead."""
        first: dict[str, ToolResult] = {}
        whole: dict[str, list[ToolResult]] = {}  # by tool, those sent word for word: what changes may refer to
        for result in results:
            shorter = None
            if use.rule.covers_tool(result.tool) and len(result.text) > parameters.min_saving:
                shorter = self._shorter(parameters, result, first.get(result.text), whole.get(result.tool, ()))
            if shorter is not None:
                yield result, shorter
            elif result.tool and result.call_id:
                whole[result.tool] = [*whole.get(result.tool, ()), result][-MAX_BASES:]
            if result.call_id:
                first.setdefault(result.text, result)

    def _shorter(
        self,
        parameters: ContextCompressionParameters,
        result: ToolResult,
        first: ToolResult | None,
        bases: Sequence[ToolResult],
    ) -> str | None:
        if first is not None and parameters.repeats:
            return shortest(result.text, [_REPEAT.format(first.call_id)], parameters.min_saving)
        base = nearest_text(result.text, bases) if parameters.changes else None
        parts = (repr(parameters), result.text, base.call_id if base else "", base.text if base else "")
        return self._memo.get(parts, lambda: _shortest_form(parameters, result.text, base))


def table_saving(text: str) -> int:
    """Return how many characters the lossless short form of a result saves, where that is enough to be used."""
    shorter = shortest(text, [compact_json(text)], ContextCompressionParameters().min_saving)
    return 0 if shorter is None else len(text) - len(shorter)


def nearest_text(text: str, bases: Sequence[ToolResult]) -> ToolResult | None:
    """Return the earlier result that has most lines in common with a text; of equal ones the latest."""
    lines = lines_of(text)
    best = max(reversed(bases), key=lambda base: len(lines & lines_of(base.text)), default=None)
    return best if best is not None and lines & lines_of(best.text) else None


def _shortest_form(parameters: ContextCompressionParameters, text: str, base: ToolResult | None) -> str | None:
    forms = [
        compact_json(text) if parameters.tables else None,
        changes_since(base.text, text, f"the result of call {base.call_id}") if base else None,
    ]
    best = shortest(text, forms, parameters.min_saving)
    if parameters.max_chars and len(best or text) > parameters.max_chars:
        return shortest(text, [best, head_and_tail(best or text, parameters.max_chars)], parameters.min_saving)
    return best
