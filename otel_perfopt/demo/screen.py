"""What the demo shows: phases, tables and progress in, a terminal out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.lifecycle import Transition
from otel_perfopt.report.ledger import ledger_table

_STEADY_HZ = 4
_TOLD = frozenset({"approve", "reject", "expose", "promote", "rollback"})


class Screen:
    """The demo's terminal; on one that is no terminal, every phase prints once instead of updating in place."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._started = time.monotonic()
        self._phase = 0

    def phase(self, title: str, explanation: str) -> None:
        """Begin a phase."""
        self._phase += 1
        elapsed = time.monotonic() - self._started
        self.console.print()
        self.console.print(Rule(Text(f"{self._phase}. {title}", style="bold"), align="left", style="cyan"))
        self.console.print(Text(explanation, style="dim"), Text(f"[{elapsed:.0f} s]", style="dim"))

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        self.console.print(Text(text, style=style))

    def show(self, what: RenderableType) -> None:
        """Print anything rich can print."""
        self.console.print(what)

    def policy(self, title: str, text: str) -> None:
        """Print a policy file."""
        self.console.print(Panel(Syntax(text, "yaml", word_wrap=True, background_color="default"), title=title))

    def transitions(self, steps: Sequence[Transition]) -> None:
        """Print steps of the life cycle."""
        for step in steps:
            style = "bold red" if str(step.to_state) == "rolled back" else "bold green" if step.exposes else ""
            self.console.print(Text(f"{step.policy}: {step.from_state} → {step.to_state}", style=style))
            self.console.print(Text(f"  {step.reason}", style="dim"))

    def ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Print who let what happen, and what happened by itself, out of all that the ledger says."""
        told = [entry for entry in entries if entry.event in _TOLD]
        self.console.print(ledger_table(told))
        self.say(f"{len(told)} of {len(entries)} entries: approvals, exposures, promotions, roll-backs.", "dim")

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar until the block ends; gives the function that moves it."""
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda done: progress.update(task, completed=min(done, total))

    @contextmanager
    def live(self) -> Iterator[Live]:
        """Show something that changes until the block ends."""
        with Live(console=self.console, refresh_per_second=_STEADY_HZ, transient=not self.console.is_terminal) as live:
            yield live
