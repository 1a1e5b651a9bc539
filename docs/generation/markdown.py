"""Texts in, Markdown that shows them as they are out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_MARK = "<!-- Written by python -m docs.generate: change the code, and run that. -->"


def page(title: str, *parts: str) -> str:
    """Return a page: its title, the mark that it is generated, and its parts."""
    return "\n\n".join((f"# {title}", _MARK, *(part.strip("\n") for part in parts))) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells may hold Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(text: object) -> str:
    """Return a text as inline code."""
    return f"`{text}`"


def prose(documented: object) -> str:
    """Return a docstring as a paragraph, its names kept as code."""
    return inspect.cleandoc(getattr(documented, "__doc__", "") or "").replace("``", "`")


def sentence(text: str) -> str:
    """Return a text that begins with a capital and ends with a stop."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!", "?")) else ".")


def anchor(title: str) -> str:
    """Return the address of a heading on its page, as the site makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def _cell(text: str) -> str:
    return " ".join(text.split("\n")).replace("|", "\\|")
