"""Instructions with their reference sections on demand: a text in, a shorter one and what a conversation needs of it out."""

from __future__ import annotations

from collections.abc import Iterable

from otel_perfopt.act.parameters.selective_context import SelectiveContextParameters
from otel_perfopt.act.relevance import Relevance
from otel_perfopt.act.sections import Section, fits, joined, sections_of

_OUTLINE = "[Further sections, given as soon as they are needed: {}]"
_LEAST_TITLE = 5  # a shorter title turns up in any text


class Outline:
    """One text of instructions: `short` is what is always sent, `left_out` what is given on demand."""

    __slots__ = ("_least_share", "_most", "_relevance", "left_out", "short")

    def __init__(self, text: str, parameters: SelectiveContextParameters) -> None:
        sections = sections_of(text)
        left_out = [item for item in sections if item.lies_under(parameters.under) and not _kept(item, parameters)]
        if sum(len(item.text) for item in left_out) < parameters.min_chars:
            left_out = []
        self.left_out: tuple[Section, ...] = tuple(left_out)
        self.short = _shortened(sections, self.left_out) if left_out else text
        self._relevance = Relevance([item.title for item in left_out], [item.text for item in left_out])
        self._most, self._least_share = parameters.max_sections, parameters.min_score

    def asked_for(self, text: str) -> list[int]:
        """Return which sections, by number, a user's words are about, and those they name."""
        scores = self._relevance.scores(text)
        best = max(scores, default=0.0)
        ranked = sorted(range(len(scores)), key=lambda index: -scores[index])[: self._most]
        about = [index for index in ranked if best > 0 and scores[index] >= best * self._least_share]
        return sorted({*about, *self.named_in(text)})

    def named_in(self, text: str) -> list[int]:
        """Return which sections, by number, a text names by their titles."""
        low = text.lower()
        titles = ((index, item.title.lower()) for index, item in enumerate(self.left_out))
        return [index for index, title in titles if len(title) >= _LEAST_TITLE and title in low]

    def given(self, numbers: Iterable[int]) -> str:
        """Return the text of those sections as it is put into a conversation."""
        return joined([self.left_out[index].text for index in numbers]).strip()


def _kept(section: Section, parameters: SelectiveContextParameters) -> bool:
    return fits(section.title, parameters.keep)


def _shortened(sections: tuple[Section, ...], left_out: tuple[Section, ...]) -> str:
    """Put the outline where the first section was left out; what stands before and after stays where it was."""
    gone = {id(item) for item in left_out}
    parts: list[str] = []
    told = False
    for item in sections:
        if id(item) not in gone:
            parts.append(item.text)
        elif not told:
            told = True
            parts.append(_OUTLINE.format("; ".join(section.title for section in left_out)) + "\n")
    return joined(parts)
