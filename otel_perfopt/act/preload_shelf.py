"""Calls foreseen for one conversation: put here when foreseen, taken by the agent's own equal call, or out of date."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextvars import Context
from dataclasses import dataclass
from typing import Final

from otel_perfopt.act.early_call import EarlyCall
from otel_perfopt.act.enrolment import Use
from otel_perfopt.signal.calls import ToolCall

MAX_FORESEEN: Final = 64
MAX_SHELVES: Final = 1024
COMMANDS_KEPT: Final = 3


@dataclass(slots=True, eq=False)
class Foreseen:
    """A call that may come; `rule` is its rule's place in the policy, `moment` the write journal's.

    `counted` says that it takes part in the run's counts (and, outside shadow, in the budget, at `cost`); `early`
    is the call under way, None while it waits for its turn or where none is made; `context` holds the
    context variables it was foreseen with.
    """

    call: ToolCall
    key: Hashable
    use: Use
    rule: int
    moment: int
    made_ns: int
    expires_ns: int
    counted: bool
    context: Context
    cost: float = 0.0
    early: EarlyCall | None = None


# Makes a foreseen call; False when it could not be started.
Start = Callable[[Foreseen, Callable[[], None]], bool]


class Shelf:
    """What is foreseen for one conversation, each call once, at most `MAX_FORESEEN` of them."""

    def __init__(self) -> None:
        self.used_ns = 0
        self.commands: deque[str] = deque(maxlen=COMMANDS_KEPT)
        self._foreseen: dict[Hashable, Foreseen] = {}
        self._turns: deque[Foreseen] = deque()
        self._running = 0
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._foreseen)

    def put(self, item: Foreseen) -> bool:
        """Foresee a call; False where it is foreseen already, or there is no room."""
        with self._lock:
            if item.key in self._foreseen or len(self._foreseen) >= MAX_FORESEEN:
                return False
            self._foreseen[item.key] = item
            return True

    def holds(self, key: Hashable) -> bool:
        """Tell whether an early call with that key is under way or has ended."""
        item = self._foreseen.get(key)
        return item is not None and item.early is not None

    def take(self, key: Hashable) -> Foreseen | None:
        """Take a foreseen call, at most once."""
        with self._lock:
            return self._foreseen.pop(key, None)

    def out_of_date(self, now_ns: int) -> list[Foreseen]:
        """Take what nobody came for in time."""
        with self._lock:
            late = [item for item in self._foreseen.values() if item.expires_ns <= now_ns]
            for item in late:
                del self._foreseen[item.key]
            return late

    def clear(self) -> list[Foreseen]:
        """Take everything."""
        with self._lock:
            left = list(self._foreseen.values())
            self._foreseen.clear()
            self._turns.clear()
            return left

    def queue(self, item: Foreseen) -> None:
        """Have a foreseen call made when it is its turn."""
        with self._lock:
            self._turns.append(item)

    def fill(self, most: int, now_ns: int, start: Start) -> None:
        """Start calls until `most` are under way; one that ends makes room for the next."""
        with self._lock:
            while self._turns and self._running < most:
                item = self._turns.popleft()
                if self._foreseen.get(item.key) is not item or item.expires_ns <= now_ns:
                    continue
                self._running += 1
                if not start(item, self._ended):
                    self._running -= 1

    def _ended(self) -> None:
        with self._lock:
            self._running -= 1


class Shelves:
    """One shelf a conversation; the one that was not used for longest goes first."""

    def __init__(self) -> None:
        self._shelves: OrderedDict[Hashable, Shelf] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Shelf | None:
        """Return a conversation's shelf, if it has one."""
        return self._shelves.get(key)

    def of(self, key: Hashable, now_ns: int) -> tuple[Shelf, list[Shelf]]:
        """Return a conversation's shelf, a new one where it has none, and the shelves that had to go."""
        with self._lock:
            shelf = self._shelves.get(key)
            if shelf is None:
                shelf = self._shelves[key] = Shelf()
            shelf.used_ns = now_ns
            self._shelves.move_to_end(key)
            gone: list[Shelf] = []
            while len(self._shelves) > MAX_SHELVES:
                gone.append(self._shelves.popitem(last=False)[1])
            return shelf, gone

    def unused_since(self, then_ns: int) -> list[Shelf]:
        """Return the shelves that nobody has used since then; they are forgotten."""
        gone: list[Shelf] = []
        with self._lock:
            while self._shelves:
                key, shelf = next(iter(self._shelves.items()))
                if shelf.used_ns > then_ns:
                    break
                del self._shelves[key]
                gone.append(shelf)
        return gone

    def clear(self) -> list[Shelf]:
        """Forget all of them."""
        with self._lock:
            gone = list(self._shelves.values())
            self._shelves.clear()
            return gone
