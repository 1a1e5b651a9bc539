"""The environment of a program under `perfopt run`: the present one and options in, the program's out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def run_environment(
    base_env: Mapping[str, str],
    home: Path,
    tools: Iterable[str] = (),
    commands: Iterable[str] = (),
    effects: Iterable[str] = (),
    *,
    capture_content: bool = False,
    discover_tools: bool = True,
    service_name: str = "",
) -> dict[str, str]:
    """Return `base_env` with what an interpreter needs to start instrumented, and all it starts in turn.

    `tools`, `commands` (`module:function`, `module:glob`, commands also `module:function=/name`) and
    `effects` (`glob=read`) are added to what the environment names already.
    """
    env = dict(base_env)
    path = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry and Path(entry).resolve() != FOLDER]
    env["PYTHONPATH"] = os.pathsep.join([str(FOLDER), *path])
    env["PERFOPT_HOME"] = str(home.absolute())
    env["PERFOPT_WRITE_TELEMETRY"] = "1"
    for name, items in (("PERFOPT_TOOLS", tools), ("PERFOPT_COMMANDS", commands), ("PERFOPT_EFFECTS", effects)):
        both = [*env.get(name, "").split(","), *items]
        if any(both):
            env[name] = ",".join(dict.fromkeys(item.strip() for item in both if item.strip()))
    if capture_content:
        env["PERFOPT_CAPTURE_CONTENT"] = "1"
    if not discover_tools:
        env["PERFOPT_DISCOVER_TOOLS"] = "0"
    if service_name:
        env["OTEL_SERVICE_NAME"] = service_name
    return env
