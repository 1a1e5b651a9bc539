"""A host with this package on its tracer and meter provider."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from metered_host import Host

import otel_perfopt
from otel_perfopt.signal.emit.faults import faults


@pytest.fixture
def host(tmp_path) -> Iterator[Host]:
    faults.clear()
    host = Host(tmp_path)
    host.instrument()
    yield host
    otel_perfopt.uninstrument()
    host.tracers.shutdown()
    host.meters.shutdown()
    assert not faults
