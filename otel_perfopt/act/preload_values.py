"""What a run's calls have said so far, where rules look for it: ended calls in, arguments for the next ones out."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from typing import Final

from otel_perfopt.act.parameters.preload import ARGUMENTS, RESULT, PreloadRule, Source
from otel_perfopt.signal.leaf_paths import leaf_values

MAX_SEEN: Final = 256
# Only single values of these kinds are ever an argument taken from elsewhere.
_PLAIN = (str, int, float, bool)

Paths = Mapping[tuple[str, str], frozenset[str]]


class RunValues:
    """Of each tool's latest call the values that some rule needs, and which calls were made already."""

    __slots__ = ("_lock", "_seen", "_values")

    def __init__(self) -> None:
        self._values: dict[Source, object] = {}
        self._seen: dict[Hashable, None] = {}
        self._lock = threading.Lock()

    def note(self, paths: Paths, tool: str, arguments: object, result: object) -> None:
        """A call of `tool` has ended; what its last one said no longer counts."""
        found: dict[Source, object] = {}
        for part, content in ((ARGUMENTS, arguments), (RESULT, result)):
            wanted = paths.get((tool, part))
            if wanted:
                leaves = leaf_values(content, wanted)
                found.update({Source(tool, part, path): leaf for path, leaf in leaves.items() if _plain(leaf)})
        with self._lock:
            for part in (ARGUMENTS, RESULT):
                for path in paths.get((tool, part), ()):
                    self._values.pop(Source(tool, part, path), None)
            self._values.update(found)

    def resolve(self, rule: PreloadRule) -> dict[str, object] | None:
        """Return the call's arguments; None while one of them is not known."""
        with self._lock:
            values = {name: self._values.get(source) for name, source in rule.arguments.items()}
        return None if any(value is None for value in values.values()) else values

    def made(self, key: Hashable) -> None:
        """The agent makes this call itself."""
        with self._lock:
            if len(self._seen) < MAX_SEEN:
                self._seen[key] = None

    def was_made(self, key: Hashable) -> bool:
        """Tell whether the agent has made this call before in the run: then another one is a cache's business."""
        with self._lock:
            return key in self._seen


def _plain(leaf: object) -> bool:
    return type(leaf) in _PLAIN
