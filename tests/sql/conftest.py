"""Lets the tests of this folder share how traces are made up, and a store for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_perfopt.measure.store.telemetry_store import TelemetryStore, open_store

pytest.importorskip("chdb")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    with open_store(tmp_path / "store") as opened:
        yield opened
