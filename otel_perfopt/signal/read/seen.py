"""Ids in, whether each is new out, in little and bounded memory."""

from __future__ import annotations

from array import array
from typing import Final

_FIRST_SLOTS: Final = 1 << 12


class SeenIds:
    """Remembers ids by a 64-bit hash in an open-addressed table: 16 to 32 bytes an id.

    Two generations of at most `generation` ids each bound the memory (64 MiB for the default): when
    the newer is full, the older is forgotten. Copies of a session lie near the original, so what is
    forgotten is not asked for again.
    """

    def __init__(self, generation: int = 1 << 21) -> None:
        self._generation = generation
        self._newer = _Table()
        self._older = _Table()

    def add(self, identity: str) -> bool:
        """Remember `identity`; tell whether it is new."""
        key = hash(identity) & 0xFFFF_FFFF_FFFF_FFFF or 1
        if key in self._older or not self._newer.add(key):
            return False
        if self._newer.used >= self._generation:
            self._older, self._newer = self._newer, _Table()
        return True


class _Table:
    __slots__ = ("_mask", "_slots", "used")

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._mask = _FIRST_SLOTS - 1
        self.used = 0

    def __contains__(self, key: int) -> bool:
        return self.used > 0 and self._slots[self._place(key)] == key

    def add(self, key: int) -> bool:
        place = self._place(key)
        if self._slots[place]:
            return False
        self._slots[place] = key
        self.used += 1
        if self.used * 2 > self._mask:
            self._grow()
        return True

    def _place(self, key: int) -> int:
        slots, mask = self._slots, self._mask
        place = key & mask
        while slots[place] and slots[place] != key:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        keys = [key for key in self._slots if key]
        self._mask = self._mask * 2 + 1
        self._slots = array("Q", bytes(8 * (self._mask + 1)))
        for key in keys:
            self._slots[self._place(key)] = key
