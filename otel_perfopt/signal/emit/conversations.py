"""Which conversation a model call continues, and how much of it was sent before: messages in, a conversation out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

MAX_CONVERSATIONS = 4096
MAX_THREADS = 4


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One message of a model call without its content: role, fingerprint (in this process), length, tool call ids.

    `call_ids` are the requests that a tool message answers, or that an assistant message makes.
    `command` is the leading `/word` of a user's message.
    """

    role: str
    fingerprint: int
    chars: int = 0
    call_ids: tuple[str, ...] = ()
    command: str = ""


@dataclass(slots=True)
class _Thread:
    """The last call of one line of messages (an agent and its helpers have several in a conversation)."""

    fingerprints: tuple[int, ...]
    chars: tuple[int, ...]
    input_tokens: int | None


@dataclass(slots=True)
class _Conversation:
    conversation_id: str
    threads: list[_Thread] = field(default_factory=list)


class Conversations:
    """Bounded memory of what was sent: fingerprints only, the least recently used conversation is forgotten."""

    def __init__(self, new_id: Callable[[], str] | None = None, limit: int = MAX_CONVERSATIONS) -> None:
        self._chance = Random()  # noqa: S311 - ids that differ, as those of spans; the system's own costs a call of it
        self._new_id = new_id or self._random_id
        self._limit = limit
        self._lock = threading.Lock()
        self._by_id: OrderedDict[str, _Conversation] = OrderedDict()
        self._by_line: OrderedDict[int, str] = OrderedDict()

    def after_fork(self) -> None:
        """Take a lock that is free (the parent may have held it), and ids of this process."""
        self._lock = threading.Lock()
        self._chance.seed()

    def _random_id(self) -> str:
        return format(self._chance.getrandbits(128), "032x")

    def identify(self, messages: Sequence[SentMessage]) -> str:
        """Return the id of the conversation that `messages` continue, or a new one.

        Where nobody gave an id, a call continues the conversation whose last call and reply its
        messages begin with.
        """
        with self._lock:
            for line in reversed(_lines(messages)[:-1]):
                known = self._by_line.get(line)
                if known is not None:
                    return known
        return self._new_id()

    def resent_tokens(
        self, conversation_id: str, messages: Sequence[SentMessage], input_tokens: int | None
    ) -> int | None:
        """Return how many of a call's input tokens the conversation's calls have sent before; None if unknown.

        An earlier call that this one begins with counts with the tokens its provider counted; one
        that it shares a part with, by that part's share of characters.
        """
        with self._lock:
            conversation = self._by_id.get(conversation_id)
            threads = list(conversation.threads) if conversation is not None else []
        if input_tokens is None:
            return None
        sent = [_shared_tokens(thread, messages) for thread in threads]
        if any(tokens is None for tokens in sent):
            return None
        return min(input_tokens, max((tokens for tokens in sent if tokens is not None), default=0))

    def remember(
        self,
        conversation_id: str,
        messages: Sequence[SentMessage],
        reply: SentMessage | None,
        input_tokens: int | None,
    ) -> None:
        """Keep what a call sent, and what came back."""
        fingerprints = tuple(message.fingerprint for message in messages)
        thread = _Thread(fingerprints, tuple(message.chars for message in messages), input_tokens)
        lines = _lines([*messages, reply] if reply is not None else messages)
        with self._lock:
            conversation = self._by_id.setdefault(conversation_id, _Conversation(conversation_id))
            others = [
                kept for kept in conversation.threads if fingerprints[: len(kept.fingerprints)] != kept.fingerprints
            ]
            conversation.threads = [*others[-(MAX_THREADS - 1) :], thread]
            self._by_id.move_to_end(conversation_id)
            if reply is not None:
                self._by_line[lines[-1]] = conversation_id
                self._by_line.move_to_end(lines[-1])
            while len(self._by_id) > self._limit:
                self._by_id.popitem(last=False)
            while len(self._by_line) > 4 * self._limit:
                self._by_line.popitem(last=False)

    def keep(self, conversation_id: str, message: SentMessage, input_tokens: int | None) -> None:
        """Keep what the next call sends in place of all before, where the provider keeps the conversation."""
        self.remember(conversation_id, (), message, None)
        self.remember(conversation_id, (message,), None, input_tokens)


def _lines(messages: Sequence[SentMessage]) -> list[int]:
    """Return one number for each beginning of `messages`, shortest first."""
    lines = []
    line = 0
    for message in messages:
        line = hash((line, message.fingerprint))
        lines.append(line)
    return lines


def _shared_tokens(thread: _Thread, messages: Sequence[SentMessage]) -> int | None:
    shared = 0
    for known, message in zip(thread.fingerprints, messages, strict=False):
        if known != message.fingerprint:
            break
        shared += 1
    if shared == 0:
        return 0
    if thread.input_tokens is None:
        return None
    if shared == len(thread.fingerprints):
        return thread.input_tokens
    total = sum(thread.chars)
    return round(thread.input_tokens * sum(thread.chars[:shared]) / total) if total else 0
