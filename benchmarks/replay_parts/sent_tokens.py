"""What requests cost at a provider: requests as they are sent in, input tokens new and cached, and USD out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replay_parts.recorded_turn import Ask

from otel_perfopt.analyse.context_rules import CACHE_LIFE_NS, CACHED_PRICE, MIN_PREFIX_TOKENS
from otel_perfopt.execution.model import TokenUsage
from otel_perfopt.measure.price import PriceTable
from otel_perfopt.signal.emit.sent_content import length
from otel_perfopt.signal.read.prompt_trace_spans import shared_prefix

# How OpenAI counts what it cached by itself.
STEP_TOKENS = 128
COMPARED = 16
CHARS_A_TOKEN = 4
AUTOMATIC, OWN_MARKS, MARKED = "automatic", "the agent's own marks", "marked"


@dataclass
class Paid:
    """Sums of one run: tokens of input, those of them read from the provider's cache, of output, and the price."""

    input: float = 0.0
    cached: float = 0.0
    output: float = 0.0
    usd: float = 0.0

    @property
    def as_new(self) -> float:
        """Input tokens, a cached one counted as a tenth."""
        return self.input - (1 - CACHED_PRICE) * self.cached


@dataclass(frozen=True, slots=True)
class _Sent:
    parts: tuple[object, ...]
    marks: tuple[int, ...]
    lengths: tuple[int, ...]
    at_s: float
    model: str


class Provider:
    """A provider's prefix cache for one conversation; `rule` says what is cached.

    `automatic`: any beginning from 1,024 tokens on, in steps of 128 (OpenAI). `marked`: up to a mark that an earlier
    request had (Anthropic). `the agent's own marks`: whatever was sent before, since the agent marks it, though
    its recording does not show where. A beginning lives for five recorded minutes after it was last sent.
    """

    def __init__(self, rule: str, priced_as: str, prices: PriceTable, *, hidden: bool) -> None:
        self._rule = rule
        self._priced_as = priced_as
        self._prices = prices
        self._hidden = hidden
        self._hidden_tokens: float | None = None
        self._before: deque[_Sent] = deque(maxlen=COMPARED)

    def send(self, ask: Ask, plain: Mapping[str, Any], sent: Mapping[str, Any], now_s: float, paid: Paid) -> None:
        """Add what one request costs; `plain` is what the agent gave, `sent` what was sent instead."""
        stated, whole = float(ask.tokens.input or 0), length(list(_parts(plain)))
        hidden = self._hidden_of(stated, whole)
        a_char = max(0.0, stated - hidden) / whole if whole else 0.0
        parts = tuple(_parts(sent))
        said = _Sent(
            tuple(_unmarked(part) for part in parts),
            tuple(place + 1 for place, part in enumerate(parts) if _is_marked(part)),
            tuple(length(_unmarked(part)) for part in parts),
            now_s,
            str(sent.get("model")),
        )
        tokens = hidden + a_char * sum(said.lengths)
        cached = max((self._cached(before, said, hidden, a_char) for before in self._before), default=0.0)
        self._before.append(said)
        writes = self._rule == OWN_MARKS or (self._rule == MARKED and bool(said.marks))
        written = tokens - cached if writes else 0.0
        paid.input += tokens
        paid.cached += cached
        paid.output += ask.tokens.output or 0
        paid.usd += self._usd(ask, tokens, cached, written)

    def _hidden_of(self, stated: float, chars: int) -> float:
        """Return the tokens of what the recording does not hold: of the first request all that its text does not explain."""
        if not self._hidden:
            return 0.0
        if self._hidden_tokens is None:
            self._hidden_tokens = max(0.0, stated - chars / CHARS_A_TOKEN)
        return min(self._hidden_tokens, stated)

    def _cached(self, before: _Sent, said: _Sent, hidden: float, a_char: float) -> float:
        if said.model != before.model or (said.at_s - before.at_s) * 1e9 > CACHE_LIFE_NS:
            return 0.0
        same = 0
        for one, other in zip(before.parts, said.parts, strict=False):
            if one != other:
                break
            same += 1
        if self._rule == MARKED:
            same = max((mark for mark in before.marks if mark <= same), default=0)
            tokens = a_char * sum(said.lengths[:same])
        else:
            chars = sum(said.lengths[:same])
            if same < min(len(before.parts), len(said.parts)):
                chars += shared_prefix(_text(before.parts[same]), _text(said.parts[same]))
            tokens = hidden + a_char * chars
        if self._rule == AUTOMATIC:
            tokens = tokens // STEP_TOKENS * STEP_TOKENS
        return tokens if tokens >= MIN_PREFIX_TOKENS else 0.0

    def _usd(self, ask: Ask, tokens: float, cached: float, written: float) -> float:
        model = self._priced_as or ask.model
        usage = TokenUsage(round(tokens), ask.tokens.output, round(cached), round(written))
        cost = self._prices.cost_usd(model, usage)
        if cost is None:
            raise ValueError(f"no price for {model} with {usage}")
        return cost


def _parts(sent: Mapping[str, Any]) -> Sequence[object]:
    system = sent.get("system")
    return [*(sent.get("tools") or ()), *([system] if system else ()), *sent["messages"]]


def _unmarked(part: object) -> object:
    if isinstance(part, Mapping):
        return {key: _unmarked(value) for key, value in part.items() if key != "cache_control"}
    if isinstance(part, list):
        # One block of text and the bare text are the same to the model.
        blocks = [_unmarked(block) for block in part]
        return blocks[0]["text"] if len(blocks) == 1 and _is_text(blocks[0]) else blocks
    return part


def _is_text(block: object) -> bool:
    return isinstance(block, Mapping) and block.get("type") == "text" and set(block) == {"type", "text"}


def _is_marked(part: object) -> bool:
    if isinstance(part, Mapping):
        return "cache_control" in part or any(_is_marked(value) for value in part.values())
    return isinstance(part, list) and any(_is_marked(block) for block in part)


def _text(part: object) -> str:
    content = part.get("content") if isinstance(part, Mapping) else part
    return content if isinstance(content, str) else ""
