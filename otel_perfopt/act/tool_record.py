"""Which tools are worth calling early: what became of early calls in, whether to go on out."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TOOLS = 512
FAILURES_TO_STOP = 3
WASTED_TO_STOP = 5


@dataclass(slots=True)
class _Counts:
    failures: int = 0
    wasted: int = 0


class ToolRecord:
    """Early calls by tool; a tool that fails early three times, or is not claimed five times in a row, is left alone.

    An early call "fails" when it raised, or hung, and the plain call in the agent's own thread did
    not: a sign of state that belongs to a thread (an sqlite3 connection, a thread-local, a lock).
    """

    def __init__(self) -> None:
        self._tools: dict[str, _Counts] = {}

    def worth_starting(self, tool: str, *, budgeted: bool = False) -> bool:
        """Tell whether calls of `tool` may be made early; where a budget holds waste down, waste alone stops nothing."""
        counts = self._tools.get(tool)
        if counts is None:
            return len(self._tools) < MAX_TOOLS
        return counts.failures < FAILURES_TO_STOP and (budgeted or counts.wasted < WASTED_TO_STOP)

    def claimed(self, tool: str) -> None:
        """An early call gave the agent its result."""
        self._counts(tool).wasted = 0

    def failed(self, tool: str) -> None:
        """An early call failed where the plain one did not."""
        self._counts(tool).failures += 1

    def wasted(self, tool: str) -> None:
        """Nobody asked for an early call's result."""
        self._counts(tool).wasted += 1

    def _counts(self, tool: str) -> _Counts:
        counts = self._tools.get(tool)
        if counts is None:
            counts = _Counts()
            if len(self._tools) < MAX_TOOLS:
                self._tools[tool] = counts
        return counts
