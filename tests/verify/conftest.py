"""The simulator of the benchmark serves the tests too; the guarded trial is imported by the tests beside it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def simulation() -> ModuleType:
    """Return the module `benchmarks/verdicts.py`."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "verdicts.py"
    spec = importlib.util.spec_from_file_location("perfopt_benchmark_verdicts", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
