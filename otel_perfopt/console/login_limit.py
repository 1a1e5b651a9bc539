"""How often a wrong token may be tried: an address and the time in, seconds to wait out."""

from __future__ import annotations

from collections import OrderedDict, deque

TRIES, WINDOW_S = 5, 60.0
_MOST_ADDRESSES = 1000


class LoginLimit:
    """Five wrong tokens a minute from one address; the right one is refused meanwhile too."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """Return how long this address has to wait; 0 when it may try."""
        tries = self._recent(address, now_s)
        return max(0.0, tries[0] + WINDOW_S - now_s) if len(tries) >= TRIES else 0.0

    def failed(self, address: str, now_s: float) -> None:
        """Note a wrong token."""
        tries = self._recent(address, now_s)
        tries.append(now_s)
        self._wrong[address] = tries
        self._wrong.move_to_end(address)
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def _recent(self, address: str, now_s: float) -> deque[float]:
        tries = self._wrong.get(address, deque())
        while tries and tries[0] <= now_s - WINDOW_S:
            tries.popleft()
        return tries
