"""A comparison that is kept up with a table of units: what changed in, the same `Comparison` as from all units out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from otel_perfopt.decide.decision import Decision
from otel_perfopt.verify.comparison import Comparison
from otel_perfopt.verify.comparison_plan import ComparisonPlan
from otel_perfopt.verify.evidence import Stratum
from otel_perfopt.verify.opening import Frozen, Opening, Place
from otel_perfopt.verify.units import CONVERSATION, UnitTable
from otel_perfopt.verify.verdict import Unit

BLOCK_UNITS = 256


@dataclass(slots=True)
class _Block:
    """Some units of one stratum and their comparison, None while it is to be made."""

    stratum: Stratum | None
    units: dict[str, Unit] = field(default_factory=dict)
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class _Start:
    """What a stratum's first units fix: when it began, its frozen values, and the unit from which on all of it stands."""

    started_ns: int
    frozen: dict[tuple[str, Stratum], Frozen]
    until: Place | None


class RunningComparison:
    """One trial's comparison under one decision and plan; of units that began at `since_ns` or later, in `stage` if given.

    Units lie in blocks, each compared by itself and merged with the others: what changes makes only its
    block anew. A stratum's first units fix what the others are compared against; when one of those
    changes, the stratum is made anew.
    """

    def __init__(
        self,
        decision: Decision,
        plan: ComparisonPlan,
        since_ns: int = 0,
        unit: str = CONVERSATION,
        stage: str | None = None,
    ) -> None:
        self._decision, self._plan = decision, plan
        self._since_ns, self._unit, self._stage = since_ns, unit, stage
        self._seen = -1
        self._blocks: list[_Block] = []
        self._growing: dict[Stratum | None, _Block] = {}
        self._block_of: dict[str, _Block] = {}
        self._starts: dict[Stratum, _Start] = {}
        self._reader = Comparison(decision, plan)

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units that are compared."""
        return tuple(unit for block in self._blocks for unit in block.units.values())

    def follow(self, table: UnitTable) -> Comparison:
        """Take in what changed in the table since the last time and return the comparison as it is now."""
        trial = (self._decision.policy, self._decision.digest)
        revision = table.revision(*trial)
        changed: set[Stratum | None] = set()
        for unit_id, unit in table.changes(*trial, self._seen, self._since_ns, self._unit):
            wanted = unit is not None and self._stage in {None, unit.stage}
            self._place(unit_id, unit if wanted else None, changed)
        for unit_id in table.forgotten(*trial, tuple(self._block_of), self._unit):
            self._place(unit_id, None, changed)
        self._seen = revision
        for stratum in changed:
            if stratum is not None:
                self._begin(stratum)
        made = self._merged()
        made.exclude(table.exclusions(*trial, self._since_ns, self._unit))
        return made

    def _place(self, unit_id: str, unit: Unit | None, changed: set[Stratum | None]) -> None:
        """Put a unit into its block; note its stratum where its beginning may not stand any more."""
        known = self._block_of.get(unit_id)
        stratum = None if unit is None else self._reader.stratum_of(unit)
        if known is not None and (unit is None or known.stratum != stratum):
            self._note(known.stratum, known.units.pop(unit_id), changed)
            known.comparison = None
            del self._block_of[unit_id]
            known = None
        if unit is None:
            return
        if known is not None:
            self._note(stratum, known.units[unit_id], changed)
        self._note(stratum, unit, changed)
        block = known or self._open_block(stratum)
        block.units[unit_id], block.comparison = unit, None
        self._block_of[unit_id] = block

    def _note(self, stratum: Stratum | None, unit: Unit, changed: set[Stratum | None]) -> None:
        start = self._starts.get(stratum) if stratum is not None else None
        if start is None or start.until is None or (unit.first_ns, unit.unit_id) <= start.until:
            changed.add(stratum)

    def _open_block(self, stratum: Stratum | None) -> _Block:
        block = self._growing.get(stratum)
        if block is None or len(block.units) >= BLOCK_UNITS:
            block = self._growing[stratum] = _Block(stratum)
            self._blocks.append(block)
        return block

    def _begin(self, stratum: Stratum) -> None:
        """See again what a stratum's first units fix; where that is something else, all of it is compared anew."""
        blocks = [block for block in self._blocks if block.stratum == stratum]
        units = sorted((_order(unit), unit) for block in blocks for unit in block.units.values())
        if not units:
            self._starts.pop(stratum, None)
            return
        comparison, until = Comparison(self._decision, self._plan), None
        for place, unit in units:
            comparison.observe(unit)
            if comparison.settled(stratum):
                until = place
                break
        opening = comparison.opening
        start = _Start(opening.started_ns[stratum], dict(opening.frozen), until)
        if start != self._starts.get(stratum) or until is None:
            for block in blocks:
                block.comparison = None
        self._starts[stratum] = start

    def _merged(self) -> Comparison:
        merged = Comparison(self._decision, self._plan, _opening(self._starts))
        waiting: dict[Stratum, list[Unit]] = {}
        for block in self._blocks:
            start = self._starts.get(block.stratum) if block.stratum is not None else None
            if block.stratum is not None and (start is None or start.until is None):
                # Not all of it is frozen yet, so its units are compared in the order in which they came.
                waiting.setdefault(block.stratum, []).extend(block.units.values())
                continue
            if block.comparison is None:
                # Nothing of other strata is in it: their beginnings may still change.
                own = _opening({block.stratum: start} if block.stratum is not None and start is not None else {})
                block.comparison = _observed(Comparison(self._decision, self._plan, own), block.units.values())
            merged.merge(block.comparison)
        for units in waiting.values():
            merged.merge(_observed(Comparison(self._decision, self._plan), units))
        return merged


def _opening(starts: Mapping[Stratum, _Start]) -> Opening:
    frozen = {key: value for start in starts.values() for key, value in start.frozen.items()}
    return Opening({stratum: start.started_ns for stratum, start in starts.items()}, frozen)


def _order(unit: Unit) -> Place:
    return unit.first_ns, unit.unit_id


def _observed(comparison: Comparison, units: Iterable[Unit]) -> Comparison:
    for unit in sorted(units, key=_order):
        comparison.observe(unit)
    return comparison
