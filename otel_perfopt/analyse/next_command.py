"""Which command comes next: a conversation's commands in, the likely next ones with their probability out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

LONGEST = 3
MIN_COUNT = 3
MAX_CONTEXTS = 5000
SEPARATOR = "\t"


@dataclass(slots=True)
class NextCommand:
    """Counts of what followed the last one, two and three commands, and of all commands; no dependencies.

    A guess takes the longest context that was seen at least three times. Probabilities are those of
    the context, which keeps as many cases for the unseen as it has seen kinds (Witten and Bell 1991).
    """

    counts: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)

    def learn(self, before: Sequence[str], command: str) -> None:
        """Count that `command` followed the commands `before` it (the latest last)."""
        for length in range(min(LONGEST, len(before)) + 1):
            context = tuple(before[len(before) - length :])
            known = self.counts.get(context)
            if known is None:
                if len(self.counts) >= MAX_CONTEXTS:
                    continue
                known = self.counts.setdefault(context, Counter())
            if command in known or len(known) < MAX_CONTEXTS:
                known[command] += 1

    def learn_all(self, commands: Sequence[str]) -> None:
        """Count a whole conversation."""
        for place, command in enumerate(commands):
            self.learn(commands[max(0, place - LONGEST) : place], command)

    def predict(self, before: Sequence[str], most: int = 3) -> list[tuple[str, float]]:
        """Return the likeliest next commands with their probability, likeliest first; nothing where nothing is known."""
        return predicted(self.counts, before, most)

    def table(self, min_probability: float = 0.3) -> dict[str, object]:
        """Return the likely successions as one JSON-able value, which `predict_from` reads."""
        contexts: dict[str, dict[str, float]] = {}
        for context in sorted(self.counts):
            if sum(self.counts[context].values()) < MIN_COUNT:
                continue
            likely = {name: round(p, 4) for name, p in _probabilities(self.counts[context]) if p >= min_probability}
            if likely:
                contexts[SEPARATOR.join(context)] = likely
        return {"version": 1, "contexts": contexts}


def predict_from(table: Mapping[str, object], before: Sequence[str], most: int = 3) -> list[tuple[str, float]]:
    """Return what a table says comes next, likeliest first: of the longest context that it knows."""
    contexts = table.get("contexts")
    if not isinstance(contexts, Mapping):
        return []
    for context in _contexts(before):
        likely = contexts.get(SEPARATOR.join(context))
        if isinstance(likely, Mapping):
            return sorted(((str(k), float(v)) for k, v in likely.items()), key=lambda item: (-item[1], item[0]))[:most]
    return []


def predicted(
    counts: Mapping[tuple[str, ...], Counter[str]], before: Sequence[str], most: int
) -> list[tuple[str, float]]:
    """Return the likeliest next commands by counts of contexts."""
    for context in _contexts(before):
        known = counts.get(context)
        if known and sum(known.values()) >= MIN_COUNT:
            return _probabilities(known)[:most]
    return []


def _contexts(before: Sequence[str]) -> Iterable[tuple[str, ...]]:
    for length in range(min(LONGEST, len(before)), -1, -1):
        yield tuple(before[len(before) - length :])


def _probabilities(known: Counter[str]) -> list[tuple[str, float]]:
    total = sum(known.values()) + len(known)
    return sorted(((name, count / total) for name, count in known.items()), key=lambda item: (-item[1], item[0]))
