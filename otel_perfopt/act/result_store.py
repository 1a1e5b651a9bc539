"""Results put by for a while: keys and results in, fresh results out, within bounds of age, number and bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from otel_perfopt.act.private_copy import Kept


@dataclass(frozen=True, slots=True)
class Entry:
    """A kept result; `moment` is the write journal's when the call began, `duration_ns` what the call took."""

    kept: Kept
    moment: int
    expires_ns: int
    duration_ns: int


class ResultStore:
    """The least recently used goes first when entries or bytes exceed their bounds."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.bytes = 0
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, now_ns: int) -> Entry | None:
        """Return the entry of `key` unless it is too old."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            if now_ns >= entry.expires_ns:
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return entry

    def put(self, key: Hashable, entry: Entry) -> None:
        """Keep `entry`; one that alone exceeds the bound is not kept."""
        if entry.kept.size > self.max_bytes:
            return
        with self._lock:
            self._drop(key)
            self._entries[key] = entry
            self.bytes += entry.kept.size
            while len(self._entries) > self.max_entries or self.bytes > self.max_bytes:
                self._drop(next(iter(self._entries)))

    def discard(self, key: Hashable, entry: Entry) -> None:
        """Forget `entry` if it is still the one of `key`."""
        with self._lock:
            if self._entries.get(key) is entry:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.kept.size

    def after_fork(self) -> None:
        """Start empty: writes of the parent and of this process are no longer seen by one another."""
        self._lock = threading.Lock()
        self._entries = OrderedDict()
        self.bytes = 0
