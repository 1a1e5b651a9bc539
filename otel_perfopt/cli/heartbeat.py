"""What a loop says while nothing changes: its turns in, one line on a terminal that is written anew each turn out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from otel_perfopt.loop.controller import Turn
from otel_perfopt.report.wording import clock, count, counted

# A line that breaks cannot be written over; terminals narrower than this are rare.
_MOST_CHARACTERS = 79


class Heartbeat:
    """One line on the standard error, `shown` only where that is a terminal; never raises."""

    def __init__(self, home: Path, every_s: float, *, shown: bool) -> None:
        self._home = home
        self._every_s = every_s
        self._shown = shown
        self._written = 0
        self._turns = self._runs = 0

    def begin(self, policies: Sequence[str]) -> str:
        """Return what is watched, for the first line."""
        known = f"{len(policies)} {'policy' if len(policies) == 1 else 'policies'}"
        return f"watching {self._home}: its telemetry and {known}, every {self._every_s:g} s; Ctrl-C ends it"

    def beat(self, turn: Turn) -> None:
        """Write how it stands over the line of the last turn."""
        self._turns += 1
        self._runs += turn.runs
        if not self._shown:
            return
        compared = [name for name, standing in turn.standings.items() if standing.verdict is not None]
        reads = "reading what it missed; " if turn.behind else ""
        line = (
            f"{clock(turn.now_ns)[11:]}  turn {count(self._turns)}: {reads}{counted(self._runs, 'run')} followed, "
            f"{len(compared)} compared"
        )
        line = line[:_MOST_CHARACTERS]
        self._write(f"\r{line:<{self._written}}")
        self._written = len(line)

    def clear(self) -> None:
        """Take the line away, so that another may be printed in its place."""
        if self._shown and self._written:
            self._write(f"\r{' ' * self._written}\r")
            self._written = 0

    @staticmethod
    def _write(text: str) -> None:
        with suppress(OSError):
            click.echo(text, nl=False, err=True)
