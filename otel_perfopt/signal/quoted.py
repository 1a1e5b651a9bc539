"""What a text or structure could be recognised by elsewhere: content in, marks of its values and runs of words out."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from otel_perfopt.signal.content_facts import structure
from otel_perfopt.signal.digest import flow_values

# Five words in the same order are hardly said twice by chance; the text of one mark is never kept.
RUN_WORDS = 5
MAX_VALUES = 4096
MAX_CHARS = 400_000
MAX_DEPTH = 16
_WORD = re.compile(r"[^\W_]+")

Mark = int | str


class MarkMemo:
    """Marks of texts that come again and again, as those of a conversation do; about ten bytes a character, bounded."""

    def __init__(self, max_chars: int = 1_000_000) -> None:
        self._max_chars = max_chars
        self._chars = 0
        self._kept: OrderedDict[str, frozenset[Mark]] = OrderedDict()
        self._lock = threading.Lock()

    def among(self, texts: Iterable[str], wanted: frozenset[Mark]) -> frozenset[Mark]:
        """Return those of the wanted marks that the texts have."""
        found: frozenset[Mark] = frozenset()
        for text in texts:
            if len(found) == len(wanted):
                break
            found |= wanted & self._marks(text)
        return found

    def after_fork(self) -> None:
        """Make the lock anew; what was made of texts holds."""
        self._lock = threading.Lock()

    def _marks(self, text: str) -> frozenset[Mark]:
        with self._lock:
            kept = self._kept.get(text)
            if kept is not None:
                self._kept.move_to_end(text)
                return kept
        made = marks_of((text,))
        with self._lock:
            if text not in self._kept:
                self._kept[text] = made
                self._chars += len(text)
            while self._chars > self._max_chars:
                self._chars -= len(self._kept.popitem(last=False)[0])
        return made


def marks_of(contents: Iterable[object]) -> frozenset[Mark]:
    """Return the marks of several contents: digests of specific values, and numbers for runs of five words.

    Text that is JSON is read as the structure it is, so that the same values in another layout have the
    same marks. The numbers are equal for equal words in this process only.
    """
    return frozenset(mark for content in contents for mark in _marks(content))


def texts_in(value: object, depth: int = MAX_DEPTH) -> Iterator[str]:
    """Yield every text in a request or reply, whether of plain data or of a client's own objects."""
    if isinstance(value, str):
        if value:
            yield value
    elif depth:
        for item in _parts(value):
            yield from texts_in(item, depth - 1)


def _marks(content: object) -> Iterator[Mark]:
    held = structure(content)
    values, _ = flow_values(held, MAX_VALUES)
    yield from values
    for text in texts_in(held):
        words = _WORD.findall(text[:MAX_CHARS].lower())
        yield from map(hash, zip(*(words[start:] for start in range(RUN_WORDS)), strict=False))


def _parts(value: object) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return list(value)
    held = getattr(value, "__dict__", None)
    return list(held.values()) if isinstance(held, dict) and not callable(value) else ()
