"""Fixtures shared by all tests: where recorded data is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data_folder() -> Path:
    """Return the folder of recorded data: `PERFOPT_DATA`, else `../shared/data` beside the checkout."""
    named = os.environ.get("PERFOPT_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recorded data, or skip the test with the reason."""
    folder = shared_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no recorded data at {folder}; set PERFOPT_DATA to a folder that has it")
    return folder
