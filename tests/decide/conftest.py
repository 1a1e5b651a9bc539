"""Builders for policies and a home folder, shared by the tests of this room."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_perfopt.decide.policy import OptimizationPolicy

NOW_NS = 1_795_000_000_000_000_000


@pytest.fixture
def policy() -> Callable[..., OptimizationPolicy]:
    """Return a maker of policies: keyword arguments replace keys of a minimal spec."""

    def make(name: str = "p", **spec: object) -> OptimizationPolicy:
        whole = {"match": {"tool": ["search"]}, "optimize": {"type": "tool_cache"}, "goal": {"metric": "latency"}}
        return OptimizationPolicy.model_validate(
            {
                "apiVersion": "perfopt.dev/v1",
                "kind": "OptimizationPolicy",
                "metadata": {"name": name},
                "spec": {**whole, **spec},
            }
        )

    return make


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home folder with an empty policies folder."""
    (tmp_path / "policies").mkdir()
    return tmp_path


@pytest.fixture
def declare(home: Path) -> Callable[..., Path]:
    """Return a writer of policy files into the home folder; `spec` is appended to a minimal spec."""

    def write(name: str = "p", spec: str = "", author: str = "bob", file: str | None = None) -> Path:
        path = home / "policies" / (file or f"{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"""\
            apiVersion: perfopt.dev/v1
            kind: OptimizationPolicy
            metadata: {{name: {name}, author: {author}}}
            spec:
              match: {{tool: search}}
              optimize: {{type: tool_cache}}
              goal: {{metric: latency}}
            """
        extra = textwrap.indent(textwrap.dedent(spec), "  ")
        path.write_text(textwrap.dedent(text) + extra)
        return path

    return write
