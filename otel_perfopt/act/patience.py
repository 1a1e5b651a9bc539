"""How long to wait for somebody else's call: durations seen in, seconds out."""

from __future__ import annotations

MAX_TOOLS = 512
MOST_S = 60.0
_SLACK_S = 0.1
_TIMES = 3.0


class Patience:
    """Waiting on another thread can be waiting for ever: it may need a lock that the waiter holds.

    So nobody waits longer than three times the longest duration seen of that tool (and 0.1 s), or
    `first_s` before there is one; then the waiter makes the call itself, as it would have anyway.
    """

    def __init__(self) -> None:
        self._longest_ns: dict[str, int] = {}

    def observe(self, tool: str, duration_ns: int) -> None:
        """A call of `tool` took this long."""
        if duration_ns > self._longest_ns.get(tool, -1) and (
            tool in self._longest_ns or len(self._longest_ns) < MAX_TOOLS
        ):
            self._longest_ns[tool] = duration_ns

    def limit_s(self, tool: str, first_s: float) -> float:
        """Return how long a caller of `tool` may wait."""
        longest = self._longest_ns.get(tool)
        if longest is None:
            return min(first_s, MOST_S)
        return min(MOST_S, _TIMES * longest / 1e9 + _SLACK_S)
