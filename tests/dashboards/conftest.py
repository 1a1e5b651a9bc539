"""A real Prometheus with the metrics of the example agents and of a controller; the repository's own packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# The dashboards stand beside the package, not in it; the simulated fleet is the loop's.
for folder in (HERE.parents[1], HERE, HERE.parent / "loop"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from live_prometheus import LivePrometheus, find, running_prometheus, way_here  # noqa: E402 - after the path
from scene import scene  # noqa: E402 - the same


def missing(why: str) -> None:
    """Fail on a machine that must have everything, skip on another."""
    if os.environ.get("PERFOPT_REQUIRE_COLLECTOR") == "1":
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="session")
def promtool() -> str:
    path = find("promtool", "PERFOPT_PROMTOOL")
    if path is None:
        missing("promtool is not installed: apt-get install prometheus, or dashboards/prometheus.sh")
    return path


@pytest.fixture(scope="session")
def way():
    """How metrics come to Prometheus here."""
    found, why = way_here()
    if found is None:
        missing(why)
    return found


@pytest.fixture(scope="module")
def bare_prometheus(way, tmp_path_factory) -> Iterator[LivePrometheus]:
    """A server that holds nothing yet."""
    with running_prometheus(way, tmp_path_factory.mktemp("bare")) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def stage(way, tmp_path_factory) -> Iterator[tuple[LivePrometheus, Path]]:
    """A server that the example agents and a controller feed, and the controller's home folder."""
    folder = tmp_path_factory.mktemp("stage")
    with ExitStack() as stack:
        prometheus = stack.enter_context(running_prometheus(way, folder / "prometheus"))
        home = stack.enter_context(scene(prometheus, folder))
        yield prometheus, home
