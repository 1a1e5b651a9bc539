"""Which texts a question is about: texts and a question in, a score for each by the rare words they share out."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]{3,}")
# BM25's usual constants (Robertson & Zaragoza 2009): how soon repetition stops counting, how much length does.
_K1, _B = 1.2, 0.75
_TITLE_WEIGHT = 3


class Relevance:
    """Okapi BM25 over a few short texts; words count by their first six letters, so that plurals meet."""

    def __init__(self, titles: Sequence[str], texts: Sequence[str]) -> None:
        self._counts = [
            Counter(_stems(text)) + Counter(_stems(title) * _TITLE_WEIGHT)
            for title, text in zip(titles, texts, strict=True)
        ]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 1.0
        self._containing = Counter(stem for counts in self._counts for stem in counts)

    def scores(self, question: str) -> list[float]:
        """Return each text's score; 0 for one that shares no word."""
        asked = set(_stems(question))
        return [self._score(counts, length, asked) for counts, length in zip(self._counts, self._lengths, strict=True)]

    def _score(self, counts: Counter[str], length: int, asked: set[str]) -> float:
        total = 0.0
        for stem in asked & counts.keys():
            within = self._containing[stem]
            rarity = math.log(1 + (len(self._counts) - within + 0.5) / (within + 0.5))
            often = counts[stem]
            total += rarity * often * (_K1 + 1) / (often + _K1 * (1 - _B + _B * length / (self._mean or 1.0)))
        return total


def _stems(text: str) -> list[str]:
    return [word[:6] for word in _WORD.findall(text.lower())]
