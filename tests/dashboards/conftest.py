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

from live_prometheus import LivePrometheus, found, running_prometheus  # noqa: E402 - after the path
from scene import scene  # noqa: E402 - the same


def tool(name: str, variable: str) -> str:
    """Return a tool's path; a machine that must have it fails without, another one skips."""
    path, why = found(name, variable)
    if path is None:
        if os.environ.get("PERFOPT_REQUIRE_COLLECTOR") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return path


@pytest.fixture(scope="session")
def promtool() -> str:
    return tool("promtool", "PERFOPT_PROMTOOL")


@pytest.fixture(scope="session")
def bare_prometheus(tmp_path_factory) -> Iterator[LivePrometheus]:
    """A server that holds nothing yet."""
    path = tool("prometheus", "PERFOPT_PROMETHEUS")
    with running_prometheus(path, tmp_path_factory.mktemp("bare")) as prometheus:
        yield prometheus


@pytest.fixture(scope="session")
def stage(tmp_path_factory) -> Iterator[tuple[LivePrometheus, Path]]:
    """A server that the example agents and a controller feed, and the controller's home folder."""
    path = tool("prometheus", "PERFOPT_PROMETHEUS")
    folder = tmp_path_factory.mktemp("stage")
    with ExitStack() as stack:
        prometheus = stack.enter_context(running_prometheus(path, folder / "prometheus"))
        home = stack.enter_context(scene(prometheus, folder))
        yield prometheus, home
