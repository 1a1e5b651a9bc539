"""How quick a run of a command was among its like: durations in, a place between 0 (slowest) and 1 (quickest) out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from otel_perfopt.analyse.recent_values import RecentValues

KEPT = 256
LEAST = 12
MAX_COMMANDS = 500


class CommandPace:
    """The latest durations of each command's completed runs; the commands seen longest ago are forgotten."""

    def __init__(self) -> None:
        self._commands: OrderedDict[str, RecentValues] = OrderedDict()

    def quickness(self, command: str, duration_s: float) -> float | None:
        """Return the share of recent runs that took longer, ties counted half; None where too few are known."""
        known = self._commands.get(command)
        if known is None or len(known.sorted) < LEAST:
            return None
        shorter, until = bisect_left(known.sorted, duration_s), bisect_right(known.sorted, duration_s)
        return 1.0 - (shorter + until) / (2 * len(known.sorted))

    def add(self, command: str, duration_s: float) -> None:
        """Take in how long a completed run took."""
        self._commands.setdefault(command, RecentValues(KEPT)).add(duration_s)
        self._commands.move_to_end(command)
        if len(self._commands) > MAX_COMMANDS:
            self._commands.popitem(last=False)

    def state(self) -> Mapping[str, Sequence[float]]:
        """Return what is known, as plain data from which another goes on."""
        return {command: list(known.in_order) for command, known in self._commands.items()}

    def go_on(self, state: Mapping[str, Sequence[float]]) -> None:
        """Go on where another stood."""
        self._commands = OrderedDict((command, RecentValues(KEPT, kept)) for command, kept in state.items())
