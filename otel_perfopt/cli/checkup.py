"""What `perfopt doctor` says: one line a fact, how it stands and what to do about it; lines in, text out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import click


class Standing(str, Enum):
    """How a fact stands; only a warning makes the command's status 1."""

    FINE = "ok"
    NOTE = "note"
    WARNING = "warn"


@dataclass(frozen=True, slots=True)
class Line:
    """One fact about `topic`, and the command or setting that changes it where one is wanted."""

    standing: Standing
    topic: str
    fact: str
    remedy: str = ""


_COLOURS = {Standing.FINE: "green", Standing.NOTE: "cyan", Standing.WARNING: "yellow"}


def fine(topic: str, fact: str) -> Line:
    """Return a fact that is as it should be."""
    return Line(Standing.FINE, topic, fact)


def note(topic: str, fact: str, remedy: str = "") -> Line:
    """Return a fact worth knowing that is no fault."""
    return Line(Standing.NOTE, topic, fact, remedy)


def warning(topic: str, fact: str, remedy: str) -> Line:
    """Return a fact that loses, doubles or endangers something, and what to do."""
    return Line(Standing.WARNING, topic, fact, remedy)


def show(line: Line) -> None:
    """Print one line, its remedy on the next."""
    mark = click.style(f"{line.standing.value:<5}", fg=_COLOURS[line.standing])
    click.echo(f"{mark}{line.topic}: {line.fact}")
    if line.remedy:
        click.echo(f"     -> {line.remedy}")
