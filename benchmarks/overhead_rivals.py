"""Instrumentations in environments of their own in, who is cheaper a call out: rounds of all of them take turns."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

RIVALS = {
    "openinference": ("openinference-instrumentation-openai",),
    "openllmetry": ("opentelemetry-instrumentation-openai", "traceloop-sdk", "httpx"),
    "official": ("opentelemetry-instrumentation-genai-openai",),
    "logfire": ("logfire",),
    "relay": ("nemo-relay",),
}
TIMES = (("thread", "CPU of the caller's thread"), ("cpu", "CPU of all threads"), ("wall", "waiting"))
ONE = Path(__file__).with_name("overhead_instrumentations.py")
WARM_UP = 2
Rounds = list[dict[str, dict[str, float]]]


def interval(values: Sequence[float], draws: int = 1000) -> tuple[float, float, float]:
    """Return the median, and its 95 % bootstrap interval."""
    chance = random.Random(7)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return statistics.median(values), medians[draws // 40], medians[-draws // 40]


class Rival:
    """One instrumentation in a process of its own, which makes a round whenever it is asked."""

    def __init__(self, name: str, interpreter: str) -> None:
        self.name = name
        self.rounds: Rounds = []
        self.why = ""
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [interpreter, str(ONE), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def round(self) -> None:
        """Make one; a process that has ended says why."""
        if self.why:
            return
        try:
            asked, told = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
            asked.write("round\n")
            asked.flush()
            self.rounds.append(json.loads(told.readline()))
        except (OSError, ValueError):
            self._process.kill()
            self._process.communicate()
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            self.why = said[-1] if said else "it ended"

    def end(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.communicate()


def environment(folder: Path, packages: tuple[str, ...]) -> str:
    """Return the interpreter of an environment with `packages`, made if it is not there."""
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        wanted = (*packages, "openai", "opentelemetry-sdk")
        subprocess.run([interpreter, "-m", "pip", "install", "-q", *wanted], check=True, timeout=600)
    return str(interpreter)


def rivals(folder: Path, rounds: int) -> None:
    """Print what each adds to a call, and whether ours is cheaper."""
    running = [Rival("ours", sys.executable)]
    for name, packages in RIVALS.items():
        try:
            running.append(Rival(name, environment(folder / name, packages)))
        except (OSError, subprocess.SubprocessError) as error:  # noqa: PERF203 - one that is not to be had is no reason to stop
            print(f"  {name}: skipped: {error}")
    chance = random.Random(1)
    for _ in range(WARM_UP + rounds):
        for rival in chance.sample(running, len(running)):
            rival.round()
    for rival in running:
        rival.end()
        del rival.rounds[:WARM_UP]
    ours, *others = running
    if ours.why:
        print(f"  ours: {ours.why}")
        return
    print(f"one call: µs added over the plain call, median and its 95 % interval over {rounds} rounds in turn")
    for call in ours.rounds[0]:
        for time, meaning in TIMES:
            print(f"  {call}, {meaning}: ours {told(ours, call, time)}")
            for rival in others:
                print(f"    {rival.name:<14} {compared(ours, rival, call, time)}")


def told(rival: Rival, call: str, time: str) -> str:
    middle, low, high = interval([one[call][time] for one in rival.rounds])
    return f"{middle:.0f} [{low:.0f}, {high:.0f}]"


def compared(ours: Rival, rival: Rival, call: str, time: str) -> str:
    """Say whether ours is cheaper: by the difference within each round."""
    if rival.why or not rival.rounds:
        return f"skipped: {rival.why}"
    pairs: list[tuple[Any, Any]] = list(zip(ours.rounds, rival.rounds, strict=False))
    middle, low, high = interval([theirs[call][time] - mine[call][time] for mine, theirs in pairs])
    verdict = (
        "ours is cheaper by"
        if low > 0
        else "ours is not cheaper, but dearer by"
        if high < 0
        else "no difference shown:"
    )
    shown = (-middle, -high, -low) if high < 0 else (middle, low, high)
    return f"{told(rival, call, time):<22} {verdict} {shown[0]:.0f} [{shown[1]:.0f}, {shown[2]:.0f}]"
