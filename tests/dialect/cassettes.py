"""The folder of unpacked cassettes in, the jobs that make their calls again out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from recorded_call import RecordedCall, recorded_calls

# Two recordings hold replies that are cut in the middle of their compression.
UNREADABLE = {"agent_run_reasoning.yaml"}


def cassette(folder: Path, name: str) -> Path:
    """Return the one cassette of that file name."""
    (found,) = (path for path in folder.rglob("*.yaml") if path.name == name)
    return found


def call_jobs(folder: Path) -> dict[str, tuple[dict[str, Any], list[RecordedCall]]]:
    """Return by name every job that makes a cassette's model calls again, with those calls.

    The variants `…_with_events…` record the same calls and are left out.
    """
    jobs = {}
    for path in sorted(folder.rglob("*.yaml")):
        if "with_events" in path.name or path.name in UNREADABLE:
            continue
        calls = recorded_calls(path)
        if calls:
            name = _name(path)
            jobs[name] = ({"name": name, "cassette": str(path), "asynchronous": "async" in path.stem}, calls)
    return jobs


def _name(path: Path) -> str:
    package = next(part for part in path.parts if "-instrumentation-" in part)
    family, _, library = package.partition("-instrumentation-")
    return re.sub(r"[^\w.-]", "_", f"{family}-{library}.{path.parent.name}.{path.stem}")
