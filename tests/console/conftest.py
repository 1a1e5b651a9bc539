"""A home folder with one policy, and a console on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "screenshots"))

from console_parts import POLICY, console
from shop_home import prepared_home


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


@pytest.fixture(scope="session")
def past(tmp_path_factory):
    """A home with a past: some days, one active policy, one compared, one taken back, proposals that wait."""
    home = tmp_path_factory.mktemp("past") / "home"
    home.mkdir()
    return home, prepared_home(home, days=2, talks_an_hour=6.0, talks=700, compared=7)


@pytest.fixture(scope="session")
def shop(past):
    """A console on that home, at the end of its story."""
    home, end_ns = past
    with console(home, clock=lambda: end_ns) as visitor:
        while visitor.desk.loop.seen.analysis is None:
            visitor.desk.loop.look_now(30)
        yield visitor
