"""A table that cannot outgrow its bound: keys in, their rows out, everything beyond the bound in one overflow row."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Row = TypeVar("Row")


class BoundedTable(Generic[Key, Row]):
    """Rows made on first use; once `limit` keys are known, every other key shares the row of `overflow`."""

    def __init__(self, make: Callable[[], Row], *, overflow: Key, limit: int = 2000) -> None:
        self._make = make
        self._overflow = overflow
        self._limit = limit
        self.rows: dict[Key, Row] = {}

    def __getitem__(self, key: Key) -> Row:
        row = self.rows.get(key)
        if row is None:
            if len(self.rows) >= self._limit:
                key = self._overflow
            row = self.rows.setdefault(key, self._make())
        return row


class RecentStates(Generic[Key, Row]):
    """State kept for the `limit` most recently used keys; `forget` is called with each that has to go."""

    def __init__(
        self, make: Callable[[], Row], forget: Callable[[Key, Row], None] | None = None, *, limit: int = 1024
    ) -> None:
        self._make = make
        self._forget = forget
        self._limit = limit
        self._states: OrderedDict[Key, Row] = OrderedDict()

    def __getitem__(self, key: Key) -> Row:
        state = self._states.get(key)
        if state is not None:
            self._states.move_to_end(key)
            return state
        if len(self._states) >= self._limit:
            self._drop_oldest()
        return self._states.setdefault(key, self._make())

    def close(self) -> None:
        """Forget everything, in order of last use."""
        while self._states:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key, state = self._states.popitem(last=False)
        if self._forget is not None:
            self._forget(key, state)
