"""Agents under different decisions, one process each: a variant and a server in, a place to send conversations out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Variant:
    """One agent: its habit, what governs it, and the variant it is compared with."""

    name: str
    habit: str = "plain"
    optimization: str = ""
    beside: str = "plain"


VARIANTS = (
    Variant("plain"),
    Variant("selective_context", optimization="selective_context"),
    Variant("context_compression", optimization="context_compression"),
    Variant("rewriting the middle", "rewriting"),
    Variant("response_cache", optimization="response_cache"),
    Variant("shuffled tools", "shuffled"),
    Variant("shuffled with prompt_cache", "shuffled", "prompt_cache", "shuffled tools"),
)
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "selective_context": {
        "max_sections": 1,
        "min_chars": 500,
        "under": ["documentation", "reference", "airline agent policy"],
    },
    "context_compression": {"min_saving": 100},
    "response_cache": {"any_temperature": True, "tool_calls": True},
    "prompt_cache": {"min_tokens": 100},
}


def decision(optimization: str, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "policy": optimization.replace("_", "-"),
        "digest": "0" * 16,
        "optimization": optimization,
        "stage": "active",
        "allocation": Allocation(treatment=1.0),
        "parameters": PARAMETERS[optimization],
        "match": Match(command=("/*",)),
    }
    return Decision(**{**values, **changes})


@dataclass
class Agent:
    """A running agent; `talk` sends it a conversation and gives what each request took."""

    process: subprocess.Popen[str]
    home: Path

    def talk(self, conversation: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Send a conversation; returns a row for each request."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(conversation) + "\n")
        self.process.stdin.flush()
        rows = []
        while (row := self.read())["kind"] != "end":
            rows.append(row)
        return rows

    def ask(self, line: str) -> dict[str, Any]:
        """Send one line; returns the row that answers it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read()

    def read(self) -> dict[str, Any]:
        """Return the next row, as soon as it is there."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"an agent ended: {(self.home / 'agent.log').read_text()[-2000:]}")
        return json.loads(line)


@contextmanager
def running(variant: Variant, address: str, folder: Path, program: str = "talk.py", *arguments: str) -> Iterator[Agent]:
    """Run an agent under a snapshot file of its own."""
    home = folder / variant.name.replace(" ", "-")
    home.mkdir()
    decisions = (decision(variant.optimization),) if variant.optimization else ()
    snapshot = Snapshot(1, time.time_ns(), 7200.0, decisions=decisions)
    (home / "snapshot.json").write_text(snapshot.to_json())
    environment = run_environment({**os.environ, "OPENAI_BASE_URL": address}, home)
    with (home / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, HERE / program, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    agent = Agent(process, home)
    try:
        agent.read()
        yield agent
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
