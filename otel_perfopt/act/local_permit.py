"""What this process lets any snapshot do to it: the environment's lists and a snapshot in, the decisions that may stay out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from otel_perfopt.decide.decision import Decision, Snapshot


@dataclass(frozen=True, slots=True)
class LocalPermit:
    """Types of optimization and hosts by name (`host` or `host:port`); None leaves the choice to the snapshot.

    Boundaries are the controller's to keep. This one is kept by the agent, so it holds against whoever can
    write the snapshot and not the agent's environment.
    """

    optimizations: frozenset[str] | None = None
    hosts: frozenset[str] | None = None

    def permitted(self, snapshot: Snapshot) -> tuple[Snapshot, int]:
        """Return the snapshot without the decisions that are not permitted, and how many those are."""
        if self.optimizations is None and self.hosts is None:
            return snapshot, 0
        kept = tuple(decision for decision in snapshot.decisions if self._permits(decision))
        return replace(snapshot, decisions=kept), len(snapshot.decisions) - len(kept)

    def _permits(self, decision: Decision) -> bool:
        if self.optimizations is not None and decision.optimization not in self.optimizations:
            return False
        return self.hosts is None or all(self._knows(address) for address in _addresses(decision.parameters))

    def _knows(self, address: str) -> bool:
        found = urlsplit(address)
        return self.hosts is not None and bool(self.hosts & {found.hostname or "", found.netloc.rpartition("@")[2]})


EVERYTHING_PERMITTED = LocalPermit()


def _addresses(value: object) -> Iterator[str]:
    """Find every address, however deep, of whatever parameter: one that is new is asked about too."""
    if isinstance(value, str):
        if "://" in value:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _addresses(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _addresses(item)
