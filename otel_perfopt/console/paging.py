"""Lists over several pages: what an address asks for and how much there is in, where the page begins out."""

from __future__ import annotations


def first_row(text: str, size: int) -> int:
    """Return the first row to show; what is no number, or beyond the end, is brought inside."""
    return min(int(text), max(0, size - 1)) if text.isdecimal() and len(text) < 10 else 0
