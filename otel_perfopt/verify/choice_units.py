"""Units that were randomised between several choices: a run of a unit at a time in, each unit's mean value out."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

_LEAST, _MOST = 1e-100, 1e100


@dataclass(slots=True)
class ChosenUnit:
    """One unit: its choice, when it began, and the sum and number of its runs' values."""

    choice: str
    first_ns: int
    total: float
    runs: int

    @property
    def value(self) -> float:
        """The mean over its runs."""
        return self.total / self.runs


class ChoiceUnits:
    """The latest units in the order in which they began; a unit keeps the choice of its first run."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._units: OrderedDict[str, ChosenUnit] = OrderedDict()
        self.counts: Counter[str] = Counter()
        self.revision = 0

    def observe(self, unit_id: str, choice: str, value: float, at_ns: int) -> None:
        """Take one run into account; a value no test can use is left out, and so is a run under another choice."""
        if not (value == 0.0 or _LEAST <= value <= _MOST):
            return
        known = self._units.get(unit_id)
        if known is not None and known.choice == choice:
            known.total, known.runs = known.total + value, known.runs + 1
        elif known is None:
            self._units[unit_id] = ChosenUnit(choice, at_ns, value, 1)
            self.counts[choice] += 1
            if len(self._units) > self._most:
                self._units.popitem(last=False)
        self.revision += 1

    def since(self, since_ns: int) -> Iterator[ChosenUnit]:
        """Yield the units that began at a time or later."""
        return (unit for unit in self._units.values() if unit.first_ns >= since_ns)

    def backwards(self) -> Iterator[ChosenUnit]:
        """Yield the units, the one that began last first."""
        return reversed(self._units.values())
