"""The example's package on the path, and its real back ends running."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

from support import database, shop_client  # noqa: E402 - the path has to be set first
from support.agent import client_for, default_client  # noqa: E402
from support.launch import running_backends  # noqa: E402


@pytest.fixture(scope="session")
def backends(tmp_path_factory):
    """Run model server and shop service for all tests, with nobody else at the database; gives the environment."""
    before = dict(os.environ)
    with running_backends(tmp_path_factory.mktemp("backends"), back_office=False) as env:
        os.environ.update(env)
        yield env
        default_client().close()
        client_for.cache_clear()
        shop_client.client().close()
        shop_client.client_for.cache_clear()
        database.close_all()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def shop(backends):
    """Give the path of a database that holds the shop as on its first day."""
    database.close_all()
    return database.create(backends["SUPPORT_DATABASE"])
