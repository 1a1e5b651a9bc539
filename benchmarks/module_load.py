"""What putting imports off saves: real packages in, start-up time and memory with and without in one run out.

    python benchmarks/module_load.py [--rounds 12]

Goal: modules load in 40 % less time, until the command has ended (what is only put off saves nothing).
Each round starts fresh interpreters in changing order; every one is instrumented as `perfopt run` does it and reads
its snapshot at the start. The program has eight tools, each in need of a heavy package of this environment, and a
command uses one of them, as an agent's runs do.

modules   the program says `import openai`; a policy names the packages: with, without, in shadow
names     the program says `from openai import OpenAI`: what it takes is needed at once, so nothing may wait (the null)
all used  the command uses every tool: nothing is saved for good, only moved from the start to the first use

Printed are medians over rounds, the paired ratio to the line `without` and its 95 % bootstrap interval. `start` is
until the program's own first line after its imports, `command` until its command has ended, both in CPU seconds since
the interpreter began: importing is work, and the wall clock of a busy machine measures the others. `memory` is resident
at the end, as Linux says. The bound is the same program without the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Snapshot

PACKAGES = {
    "openai": ("OpenAI", "OpenAI"),
    "anthropic": ("Anthropic", "Anthropic"),
    "pandas": ("DataFrame", "DataFrame"),
    "statsmodels.api": ("OLS", "OLS"),
    "scipy.stats": ("norm", "norm"),
    "langchain_core.tools": ("tool", "tool"),
    "jinja2": ("Template", "Template"),
    "rich.console": ("Console", "Console"),
}
MODULES = [*PACKAGES, *(f"{name}.*" for name in PACKAGES)]
CLOCK = "import os,time\n"
END = "import json\nrss=int(open('/proc/self/statm').read().split()[1])*os.sysconf('SC_PAGE_SIZE')\nprint(json.dumps([start,time.process_time(),rss/2**20]))\n"


@dataclass(frozen=True)
class Variant:
    """One program under one policy."""

    name: str
    program: str
    stage: str  # of the policy; empty: none


def program(style: str, used: int) -> str:
    """Return a program with a tool for each package, of which the first `used` are used."""
    lines = [CLOCK]
    for number, (module, (attribute, _)) in enumerate(PACKAGES.items()):
        if style == "modules":
            lines.append(
                f"import {module} as package_{number}\ndef tool_{number}():\n    return package_{number}.{attribute}"
            )
        elif style == "names":
            lines.append(
                f"from {module} import {attribute} as name_{number}\ndef tool_{number}():\n    return name_{number}"
            )
        else:
            lines.append(f"def tool_{number}():\n    return None")
    lines.append(
        "start=time.process_time()\ndef command():\n    return [" + ",".join(f"tool_{n}()" for n in range(used)) + "]"
    )
    lines.append("command()")
    return "\n".join([*lines, END])


VARIANTS = (
    Variant("modules, without", program("modules", 1), ""),
    Variant("modules, shadow", program("modules", 1), "shadow"),
    Variant("modules, with lazy_import", program("modules", 1), "active"),
    Variant("names, without", program("names", 1), ""),
    Variant("names, with lazy_import", program("names", 1), "active"),
    Variant("all used, without", program("modules", len(PACKAGES)), ""),
    Variant("all used, with lazy_import", program("modules", len(PACKAGES)), "active"),
    Variant("bound: no imports", program("none", 1), ""),
)


def home_for(stage: str, folder: Path) -> Path:
    """Write a home folder whose snapshot has the policy at `stage`, or no snapshot."""
    home = folder / (stage or "none")
    home.mkdir()
    if stage:
        allocation = Allocation() if stage == "shadow" else Allocation(treatment=1.0)
        parameters = {"modules": MODULES}
        one = Decision("lazy", "d", "lazy_import", stage, allocation, parameters, unit="process")
        (home / "snapshot.json").write_text(Snapshot(1, time.time_ns(), 86400.0, decisions=(one,)).to_json())
    return home


def measured(variant: Variant, home: Path) -> tuple[float, float, float]:
    """Run the program once: seconds to its start, to the end of its command, and MiB resident."""
    env = run_environment({**os.environ, "PYTHONPATH": ""}, home)
    out = subprocess.run([sys.executable, "-c", variant.program], env=env, capture_output=True, text=True, check=True)
    start, command, memory = json.loads(out.stdout.splitlines()[-1])
    return start, command, memory


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    samples: dict[str, list[tuple[float, float, float]]] = {variant.name: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as folder:
        homes = {stage: home_for(stage, Path(folder)) for stage in ("", "shadow", "active")}
        for variant in VARIANTS:
            measured(variant, homes[variant.stage])  # files into the system's cache
        for number in range(rounds):
            for variant in random.Random(number).sample(VARIANTS, len(VARIANTS)):
                samples[variant.name].append(measured(variant, homes[variant.stage]))
    print(
        f"{rounds} rounds, Python {sys.version.split()[0]}; packages: {', '.join(PACKAGES)}; goal: −40 %, a ratio of 0.60"
    )
    print(f"{'':28}{'start s':>9}{'command s':>11}{'memory MiB':>12}   paired ratios to `without`, 95 %")
    for variant in VARIANTS:
        rows = samples[variant.name]
        base = samples[variant.name.partition(",")[0] + ", without" if "," in variant.name else "modules, without"]
        told = []
        for index, word in enumerate(("start", "command", "memory")):
            ratios = [row[index] / other[index] for row, other in zip(rows, base, strict=True)]
            low, high = interval(ratios)
            told.append(f"{word} {statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]")
        middle = [statistics.median(row[index] for row in rows) for index in range(3)]
        print(f"{variant.name:28}{middle[0]:9.2f}{middle[1]:11.2f}{middle[2]:12.1f}   {'  '.join(told)}")


if __name__ == "__main__":
    main()
