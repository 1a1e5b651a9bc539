"""A home folder in, a real `perfopt serve` process on it out; and the example agent's traffic beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.ledger_entry import LedgerEntry

START_S = 60.0
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Serving:
    """A console that runs: its address, the token that it printed, its home and its process."""

    address: str
    token: str
    home: Path
    process: subprocess.Popen[str]

    def entries(self, policy: str) -> list[LedgerEntry]:
        """Return what the ledger says of one policy, read from the file."""
        return [entry for entry in Ledger(self.home / "ledger.jsonl").refresh() if entry.policy == policy]


@contextmanager
def serving(home: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Serving]:
    """Run `perfopt serve` on a free port, as a person would start it."""
    command = [sys.executable, "-m", "otel_perfopt.cli.main", "serve", "--home", str(home), "--port", "0", *options]
    with (home.parent / "serve.log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        try:
            said = _said(process, home.parent / "serve.log")
            yield Serving(said["console"].rstrip("/"), said["token"].split()[0], home, process)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _said(process: subprocess.Popen[str], log: Path) -> dict[str, str]:
    """Return what it prints when it is ready, by name."""
    lines: list[str] = []

    def read() -> None:
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith("token:"):
                return

    reader = Thread(target=read, daemon=True)
    reader.start()
    reader.join(START_S)
    said = dict(re.findall(r"^(\w+):\s+(.+)$", "".join(lines), re.MULTILINE))
    if "token" not in said:
        raise AssertionError(f"perfopt serve did not start: {lines} {log.read_text()[-2000:]}")
    return said


def until(what: str, true: Callable[[], object], timeout_s: float = PATIENCE_S, every_s: float = 0.1) -> object:
    """Wait until `true()` gives something, and return it."""
    end = time.monotonic() + timeout_s
    while not (found := true()):
        if time.monotonic() > end:
            raise AssertionError(f"not in {timeout_s:g} s: {what}")
        time.sleep(every_s)
    return found


def policy_text(name: str, optimize: str, lines: Sequence[str] = ()) -> str:
    """Return a policy of the example agent's reads that goes to half of the conversations at once."""
    more = "".join(f"  {line}\n" for line in lines)
    return f"""# {name}, as somebody would write it by hand.
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {{name: {name}, author: search-team}}
spec:
  match: {{command: "*"}}
  optimize: {optimize}
  effects: {{"get_*": read, "list_*": read, "search_*": read, shipping_status: read, inventory: read}}
  rollout: {{warmup: 0s, steps: [{{treatment: 50%, baseline: 50%}}], limits: {{minUnits: 100}}}}
  goal: {{metric: latency, improve: 5%}}
  guardrails: [{{metric: task_failure, maxIncrease: 15pp}}, {{metric: tokens, maxIncrease: 10%}}]
{more}"""
