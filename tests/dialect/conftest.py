"""Recorded provider replies, unpacked aside; environments that have one family of instrumentations each."""

from __future__ import annotations

import os
import sys
import tarfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

FAMILIES = ("official", "official_v2", "openinference", "openllmetry")


def pytest_configure(config):
    config.addinivalue_line("markers", "families: runs real instrumentation packages in their own environments")


@pytest.fixture(scope="session")
def cassettes(shared_data, tmp_path_factory):
    """Return a folder with all recorded replies, or skip the test with the reason."""
    archives = sorted((shared_data / "cassettes").glob("*.tar.gz"))
    if not archives:
        pytest.skip(f"no recorded provider replies in {shared_data / 'cassettes'}")
    folder = tmp_path_factory.mktemp("cassettes")
    for archive in archives:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder


@pytest.fixture(scope="session")
def prepared():
    """Return what gives the interpreter of a prepared environment, or skips the test with the reason."""

    def interpreter(name):
        folder = os.environ.get("PERFOPT_FAMILIES")
        if not folder:
            pytest.skip("PERFOPT_FAMILIES names no folder of prepared environments; nox -s families makes them")
        python = Path(folder, name, "bin", "python")
        if not python.exists():
            pytest.skip(f"no environment {python.parent.parent}; nox -s families makes it")
        return python

    return interpreter


@pytest.fixture(scope="session", params=FAMILIES)
def family_python(request, prepared):
    """Return (family, interpreter that has it), or skip the test with the reason."""
    return request.param, prepared(request.param)
