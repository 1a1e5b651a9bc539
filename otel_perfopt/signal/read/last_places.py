"""Ids and the places they were met at in, the last place of each out, in little memory."""

from __future__ import annotations

from array import array
from typing import Final

_FIRST_SLOTS: Final = 1 << 12


class LastPlaces:
    """Open-addressed table from a 64-bit hash of an id to the last place noted: 32 to 64 bytes an id.

    Two ids with one hash share the later place, so what waits for an id's last place may wait
    longer, never too short.
    """

    def __init__(self) -> None:
        self._keys = array("Q", bytes(8 * _FIRST_SLOTS))
        self._places = array("Q", bytes(8 * _FIRST_SLOTS))
        self._mask = _FIRST_SLOTS - 1
        self._used = 0

    def note(self, identity: str, place: int) -> None:
        """Note that `identity` was met at `place`; places only grow."""
        key = hash(identity) & 0xFFFF_FFFF_FFFF_FFFF or 1
        slot = self._slot(key)
        if not self._keys[slot]:
            self._keys[slot] = key
            self._used += 1
        self._places[slot] = place
        if self._used * 2 > self._mask:
            self._grow()

    def last(self, identity: str) -> int:
        """Return the last place `identity` was noted at; 0 if never."""
        return self._places[self._slot(hash(identity) & 0xFFFF_FFFF_FFFF_FFFF or 1)]

    def _slot(self, key: int) -> int:
        keys, mask = self._keys, self._mask
        slot = key & mask
        while keys[slot] and keys[slot] != key:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        known = [(key, place) for key, place in zip(self._keys, self._places, strict=True) if key]
        self._mask = self._mask * 2 + 1
        self._keys = array("Q", bytes(8 * (self._mask + 1)))
        self._places = array("Q", bytes(8 * (self._mask + 1)))
        for key, place in known:
            slot = self._slot(key)
            self._keys[slot], self._places[slot] = key, place
