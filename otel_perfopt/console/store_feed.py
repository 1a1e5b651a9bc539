"""The home's telemetry kept in a store as well: a folder and a store's place in, every span there once out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from otel_perfopt.execution.source import ExecutionSource
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.measure.store.importer import import_recorded
from otel_perfopt.measure.store.spans_source import StoreSource
from otel_perfopt.measure.store.telemetry_store import open_store

_LOG = logging.getLogger(__name__)
EVERY_S = 10.0


class StoreFeed:
    """Imports what is new every few seconds, from where it stopped; the files stay what was acknowledged.

    `problem` says why the last import failed, empty when it did not.
    """

    def __init__(self, home: Path, place: str, every_s: float = EVERY_S) -> None:
        self._folder = home / TELEMETRY_FOLDER
        self._store = open_store(place)
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._go, name="perfopt-store", daemon=True)
        self.problem = ""

    def start(self) -> None:
        """Begin to import."""
        self._thread.start()

    def stop(self, limit_s: float = 20.0) -> None:
        """End after the import under way, and close the store."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)
        self._store.close()

    def feed(self) -> None:
        """Import what is new now."""
        if self._folder.is_dir():
            import_recorded(self._store, [self._folder])

    def source(self) -> ExecutionSource:
        """Open what the store holds, for an analysis."""
        return StoreSource(self._store)

    def _go(self) -> None:
        while not self._stopped.is_set():
            self._try(self.feed)
            self._stopped.wait(self._every_s)

    def _try(self, part: Callable[[], None]) -> None:
        try:
            part()
            self.problem = ""
        except Exception as error:
            # A full disk or a server that is away must end neither console nor loop.
            self.problem = f"the store does not take what is new: {type(error).__name__}: {error}"
            _LOG.warning("%s", self.problem)
