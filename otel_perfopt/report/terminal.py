"""The report in a terminal: an `Analysis` in, rich output on a console."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table as RichTable
from rich.text import Text

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.report.section import Card, Entry, Section, Table
from otel_perfopt.report.sections import report_sections

# In a terminal the end is what one sees first, so the findings come last.
_LAST = ("What it would save", "What all of it would save together", "Findings", "What to do")
# The page has more; a screen is soon full.
_MOST_PLACES = 3


def print_report(analysis: Analysis, console: Console) -> None:
    """Print every section, the findings last."""
    sections = report_sections(analysis)
    ranked = sorted(sections, key=lambda section: _LAST.index(section.title) if section.title in _LAST else -1)
    for section in ranked:
        console.print(render_section(section))


def render_section(section: Section) -> RenderableType:
    """Return one section as something rich can print; charts stay with the HTML page."""
    parts: list[RenderableType] = [Rule(Text(section.title, style="bold"), align="left", style="dim")]
    parts += [Text(sentence) for sentence in section.sentences]
    if section.cards:
        parts.append(Columns([_card(card) for card in section.cards], padding=(0, 1)))
    parts += [_entry(rank, entry) for rank, entry in enumerate(section.entries, 1)]
    parts += [_table(table) for table in section.tables]
    return Padding(Group(*parts), (0, 0, 1, 0))


def _card(card: Card) -> Panel:
    text = Text.assemble((card.value, "bold cyan"), ("\n" + card.note if card.note else "\n", "dim"))
    return Panel(text, title=Text(card.label, style="dim"), title_align="left", border_style="dim", width=26)


def _entry(rank: int, entry: Entry) -> RenderableType:
    head = Text.assemble((f"{rank:>2}. ", "dim"), (entry.title, "bold"), "  ", (entry.value, "cyan"))
    notes = [Text(note, style="dim") for note in entry.notes]
    notes += [Text(f"{name}: {value}", style="dim") for name, value in entry.facts]
    if entry.places and not entry.facts:
        notes.append(Text(f"look at: {'; '.join(entry.places[:_MOST_PLACES])}", style="dim"))
    return Group(head, Padding(Group(Text(entry.text), *notes), (0, 0, 1, 4)))


def _table(table: Table) -> RichTable:
    drawn = RichTable(
        title=Text(table.title, style="italic") if table.title else None,
        title_justify="left",
        header_style="bold",
        border_style="dim",
        show_lines=any("\n" in cell for row in table.rows for cell in row),
    )
    for name in table.columns:
        drawn.add_column(name, justify="right" if name in table.numeric else "left", overflow="fold")
    for row in table.rows:
        # Text, not markup: names in recordings may hold square brackets.
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn
