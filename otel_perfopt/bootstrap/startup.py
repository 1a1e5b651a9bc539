"""What an interpreter does at its start under `perfopt run`: environment in, instrumentation on, other hooks run."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from otel_perfopt.signal.emit.faults import fault

FOLDER = str(Path(__file__).resolve().parent)
_NAME = "sitecustomize"


def start() -> None:
    """Set up the instrumentation, then run the `sitecustomize` that ours stands before; never raises for our part."""
    try:
        from otel_perfopt.instrumentor import instrument  # noqa: PLC0415 - a fault in it must not stop the program

        instrument(lazy=True)
    except Exception as error:
        fault("bootstrap", error)
    run_shadowed()


def run_shadowed() -> None:
    """Run the next `sitecustomize` on the path, as the interpreter would have without us."""
    spec = shadowed()
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)


def shadowed() -> ModuleSpec | None:
    """Return the `sitecustomize` that ours stands before, or None."""
    return PathFinder.find_spec(_NAME, [entry for entry in sys.path if not _is_ours(entry)])


def _is_ours(entry: str) -> bool:
    return os.path.realpath(entry or ".") == FOLDER
