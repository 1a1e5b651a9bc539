"""Faults in running agents, the short way: some of the benchmark's scenarios with fewer processes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
pytest.importorskip("openai")
pytest.importorskip("uvicorn")
fleet_faults = importlib.import_module("fleet_faults")


@pytest.mark.slow
def test_faults_are_found_and_agents_unharmed(tmp_path):
    """A dead controller, a torn ledger and a stale cache: back to baseline in time, nothing raised, nothing lost."""
    rows, account = fleet_faults.run(["dead", "torn", "stale"], tmp_path, agents=3)
    assert [row for row in rows if not row.ok] == []
    assert account.ok, account
