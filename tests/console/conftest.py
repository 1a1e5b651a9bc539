"""A home folder with one policy, and a console on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "screenshots"))

from console_parts import POLICY, console


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / ".perfopt"
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "cache.yaml").write_text(POLICY)
    return folder


@pytest.fixture
def visitor(home):
    with console(home) as found:
        yield found
