"""An embedded store for a test: the engine opens one folder a process, so each test closes its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store

pytest.importorskip("chdb")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened
