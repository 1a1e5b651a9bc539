"""The variants that are compared: a name and its decisions in, a process of the example agent under them out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.demo.fleet import COMMANDS, EFFECTS, TOOLS

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

from support.launch import running_backends

CACHE = {"ttl_s": 300.0, "scope": "conversation"}
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "tool_cache": CACHE,
    "parallel_tools": {"max_concurrency": 8},
    "selective_context": {"max_sections": 2},
    "prompt_tidy": {},
    "context_compression": {},
    "prompt_cache": {},
    "response_cache": {"any_temperature": True, "tool_calls": True},
    "adaptive_concurrency": {"initial": 16, "max_concurrency": 64},
    "retry_hedge": {"hedge_after_s": 2.0, "retries": 3, "budget": 0.5, "backoff_s": 0.05, "on_overload": True},
}


@dataclass(frozen=True)
class Variant:
    """One way to run the agent; no decisions leave it as it is."""

    name: str
    decisions: tuple[Decision, ...] = ()


def decision(optimization: str, parameters: Mapping[str, Any], **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "policy": optimization.replace("_", "-"),
        "digest": "0" * 16,
        "optimization": optimization,
        "stage": "active",
        "allocation": Allocation(treatment=1.0),
        "parameters": parameters,
        "match": Match(command=("/*",)),
        "effects": EFFECTS,
    }
    return Decision(**{**values, **changes})


ALONE = {name: decision(name, parameters) for name, parameters in PARAMETERS.items()}
VARIANTS = (
    Variant("baseline"),
    Variant("null", (decision("tool_cache", CACHE, policy="null", match=Match(tool=("no_such_tool",))),)),
    *(Variant(name, (one,)) for name, one in ALONE.items()),
    Variant("all", tuple(ALONE.values())),
)


def run_block(
    stack: ExitStack,
    folder: Path,
    variants: Sequence[Variant],
    first: int,
    conversations: int,
    block: int,
    error_rate: float = 0.0,
) -> dict[str, Path]:
    """Run the same conversations under every variant at once; each has a home and back ends of its own."""
    homes: dict[str, Path] = {}
    processes: list[subprocess.Popen[bytes]] = []
    # What is started first has the machine for itself for a moment; each block begins with another variant.
    for variant in (*variants[block % len(variants) :], *variants[: block % len(variants)]):
        home = homes[variant.name] = folder / f"{block}-{variant.name}"
        home.mkdir()
        snapshot = Snapshot(1, time.time_ns(), 3600.0, decisions=variant.decisions)
        (home / "snapshot.json").write_text(snapshot.to_json())
        place = folder / f"backends-{block}-{variant.name}"
        backend = stack.enter_context(running_backends(place, back_office=False, error_rate=error_rate))
        processes.append(running_agent(home, backend, first, conversations))
    for process in processes:
        if process.wait() not in (0, 1):
            raise RuntimeError(f"an agent ended with {process.returncode}: see {folder}")
    stack.pop_all().close()
    return homes


def running_agent(
    home: Path, backend: Mapping[str, str], first: int, conversations: int, at_once: int = 3
) -> subprocess.Popen[bytes]:
    """Start the example agent in a process of its own, under the snapshot in its home."""
    effects = tuple(f"{tool}={effect}" for tool, effect in EFFECTS.items())
    environment = run_environment({**os.environ, **backend}, home, tools=TOOLS, commands=COMMANDS, effects=effects)
    arguments = ["--conversations", conversations, "--first", first, "--concurrency", at_once, "--pause", 0.3]
    arguments += ["--out", home / "outcomes.jsonl"]
    with (home / "agent.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "support.workload", *map(str, arguments)], env=environment, stdout=log, stderr=log
        )
