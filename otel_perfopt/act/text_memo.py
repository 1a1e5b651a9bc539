"""What was made of texts before: a text and what makes something of it in, the same result out, within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

MAX_BYTES = 16 << 20
_ENTRY_BYTES = 200


class TextMemo:
    """Results by digest of the texts they were made of; the least recently used go first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._made: OrderedDict[bytes, str | None] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._made)

    def get(self, parts: tuple[str, ...], make: Callable[[], str | None]) -> str | None:
        """Return what was made of `parts` before, or what `make` makes of them now."""
        key = _key(parts)
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            if key not in self._made:
                self._made[key] = made
                self._bytes += _size(made)
            while self._bytes > self._max_bytes and self._made:
                self._bytes -= _size(self._made.popitem(last=False)[1])
        return made

    def after_fork(self) -> None:
        """Take a lock that is free: the parent may have held it."""
        self._lock = threading.Lock()


def _key(parts: tuple[str, ...]) -> bytes:
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()


def _size(made: str | None) -> int:
    return _ENTRY_BYTES + 4 * len(made or "")
