"""Instructions without what they say twice or not at all: a text in, the same text with fewer paragraphs out."""

from __future__ import annotations

from collections.abc import Sequence

from otel_perfopt.act.sections import FENCE, HEADING


def tidied(text: str, min_chars: int, drop_sections: Sequence[str] = ()) -> str:
    """Return `text` without repeated paragraphs, empty sections and the named sections.

    What stands between fences (```` ``` ````) is somebody's example and stays as it is, and so do
    headings' order and everything that is not repeated word for word.
    """
    paragraphs = _paragraphs(text)
    if drop_sections:
        paragraphs = _without_sections(paragraphs, frozenset(name.strip().lower() for name in drop_sections))
    paragraphs = _without_repeats(paragraphs, min_chars)
    return "\n\n".join(_without_empty_sections(paragraphs))


def _paragraphs(text: str) -> list[str]:
    """Split at blank lines and headings, but never inside a fence; ends of lines are stripped outside of them."""
    found: list[list[str]] = [[]]
    fence = ""
    for line in text.split("\n"):
        mark = FENCE.match(line)
        if mark and (not fence or mark.group(1) == fence):
            fence = "" if fence else mark.group(1)
            found[-1].append(line)
        elif fence:
            found[-1].append(line)
        elif not line.strip():
            found.append([])
        elif HEADING.fullmatch(line):
            found += [[line.rstrip()], []]
        else:
            found[-1].append(line.rstrip())
    return ["\n".join(lines) for lines in found if lines]


def _level(paragraph: str) -> int:
    """Return a heading's level; 0 for anything else."""
    heading = HEADING.fullmatch(paragraph)
    return len(heading.group(1)) if heading else 0


def _without_sections(paragraphs: list[str], names: frozenset[str]) -> list[str]:
    kept: list[str] = []
    dropping = 0
    for paragraph in paragraphs:
        level = _level(paragraph)
        if level and (not dropping or level <= dropping):
            heading = HEADING.fullmatch(paragraph)
            dropping = level if heading and heading.group(2).strip().lower() in names else 0
        if not dropping:
            kept.append(paragraph)
    return kept


def _without_repeats(paragraphs: list[str], min_chars: int) -> list[str]:
    seen: set[str] = set()
    kept: list[str] = []
    for paragraph in paragraphs:
        words = " ".join(paragraph.split())
        said = len(words) >= min_chars and not _level(paragraph)
        if said and words in seen:
            continue
        if said:
            seen.add(words)
        kept.append(paragraph)
    return kept


def _without_empty_sections(paragraphs: list[str]) -> list[str]:
    kept: list[str] = []
    following = 0  # the level of what comes next; the end of the text closes every section
    for paragraph in reversed(paragraphs):
        level = _level(paragraph)
        if level and (not kept or 0 < following <= level):
            continue
        kept.append(paragraph)
        following = level
    return kept[::-1]
