"""What a report is made of, whoever shows it: titles, sentences, tables and charts as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under `columns`; the names in `numeric` are set to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A Vega-Lite specification and one sentence that says what it shows."""

    specification: Mapping[str, object]
    description: str


@dataclass(frozen=True, slots=True)
class Card:
    """One number to see at a glance."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of a ranked list: what it is, how large, a sentence on it, and what more there is to say.

    `notes` and named `facts` are shown with it; `folded` facts and `places` to look may be kept closed.
    """

    title: str
    value: str
    text: str
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    folded: tuple[tuple[str, str], ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a report; everything but the title may be empty."""

    title: str
    sentences: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    entries: tuple[Entry, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = field(default=())
