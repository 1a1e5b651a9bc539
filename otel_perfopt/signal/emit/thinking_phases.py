"""When a streamed reply thought: the times of its reasoning events in, phases with start and end out."""

from __future__ import annotations

MAX_PHASES = 64


class ThinkingPhases:
    """Phases of thinking in one streamed reply; at most 64 are told apart."""

    __slots__ = ("_began_ns", "_last_ns", "_phases")

    def __init__(self) -> None:
        self._phases: list[tuple[int, int]] = []
        self._began_ns: int | None = None
        self._last_ns = 0

    def seen(self, now_ns: int) -> None:
        """Take an event of thinking; it begins a phase where none is open."""
        if self._began_ns is None:
            self._began_ns = now_ns
        self._last_ns = now_ns

    def over(self, now_ns: int) -> None:
        """End the open phase, if there is one."""
        if self._began_ns is not None:
            if len(self._phases) < MAX_PHASES:
                self._phases.append((self._began_ns, now_ns))
            self._began_ns = None

    def phases(self) -> tuple[tuple[int, int], ...]:
        """Return the phases; one still open as far as it was seen."""
        self.over(self._last_ns)
        return tuple(self._phases)
