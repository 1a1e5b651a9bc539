"""One module being loaded, and who is asked about it: an import in, its times and whether it could have waited out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from opentelemetry.context import Context


@dataclass(slots=True)
class Load:
    """One module being loaded; `inside_ns` is what the imports made meanwhile took.

    `may_wait` says that the import statement allows the module to be loaded when it is first used, and
    `spared_ns` what a start would save by that; `uses` are watched modules that were used meanwhile.
    What is not `shown` makes no span.
    """

    name: str
    began_ns: int
    context: Context | None
    ended_ns: int = 0
    inside_ns: int = 0
    inside: list[Load] = field(default_factory=list)
    importer: str = ""
    may_wait: bool = False
    spared_ns: int = 0
    shown: bool = False
    uses: list[str] = field(default_factory=list)

    @property
    def self_ns(self) -> int:
        """Return what the module's own code took, without what it imported."""
        return max(0, self.ended_ns - self.began_ns - self.inside_ns)


class ImportWatch(Protocol):
    """Who knows which imports could wait, and can tell when a module is first used."""

    def asked(self, name: str) -> tuple[str, bool]:
        """Return which module's import statement is loading `name` now, and whether that load could wait."""
        ...

    def watch(self, name: str, used: Callable[[str], object]) -> None:
        """Call `used` with the module's name when something of it is used for the first time."""
        ...


class NoWatch:
    """Knows nothing."""

    def asked(self, name: str) -> tuple[str, bool]:
        """Return that nobody knows."""
        del name
        return "", False

    def watch(self, name: str, used: Callable[[str], object]) -> None:
        """Watch nothing."""
