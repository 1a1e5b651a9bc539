"""Instructions taken apart at their headings: a text in, its sections with their titles out, to be put together otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

HEADING = re.compile(r"(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*")
FENCE = re.compile(r"[ \t]*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what follows it up to the next; `level` 0 is what stands before the first heading.

    `above` holds the titles of the sections it lies in, outermost first; `text` includes its heading.
    """

    title: str
    level: int
    above: tuple[str, ...]
    text: str

    def lies_under(self, patterns: Iterable[str]) -> bool:
        """Tell whether a section above it has a title that fits one of the patterns, in any case."""
        return any(fits(title, patterns) for title in self.above)


def fits(title: str, patterns: Iterable[str]) -> bool:
    """Tell whether a title fits one of the glob patterns, in any case."""
    return any(fnmatchcase(title.lower(), pattern.lower()) for pattern in patterns)


def sections_of(text: str) -> tuple[Section, ...]:
    """Return a text's sections in their order; joined by newlines, their texts are the text again."""
    found: list[Section] = []
    open_titles: list[tuple[int, str]] = []
    title, level, lines, fence = "", 0, list[str](), ""
    above: tuple[str, ...] = ()
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if mark and (not fence or mark.group(1) == fence):
            fence = "" if fence else mark.group(1)
        heading = None if fence or mark else HEADING.fullmatch(line)
        if heading is None:
            lines.append(line)
            continue
        if lines or level:
            found.append(Section(title, level, above, "\n".join(lines)))
        title, level, lines = heading.group(2), len(heading.group(1)), [line]
        open_titles = [(of, name) for of, name in open_titles if of < level]
        above = tuple(name for _, name in open_titles)
        open_titles.append((level, title))
    return (*found, Section(title, level, above, "\n".join(lines)))


def joined(parts: Sequence[str]) -> str:
    """Put texts of sections together again."""
    return "\n".join(parts)
