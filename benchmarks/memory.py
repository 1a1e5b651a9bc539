"""What resource management saves of an agent's memory: real packages in, PSS, RSS and peak with and without in one run out.

    python benchmarks/memory.py [--rounds 8]

Goal: 25 % less. Each round starts fresh interpreters in changing order, every one instrumented as `perfopt run` does it
and reading its snapshot at the start; policies differ, programs do not.

agent   One process with five commands. /chat makes a client of the OpenAI SDK for each conversation and keeps the last
        24, as agents do that keep a client by user; /page fills a template; /read answers with parsed JSON whose parts
        know one another (cycles that only the collector frees); /table needs pandas and /fit statsmodels. A round serves
        60 commands of the first three, as four processes of five do that nobody asks for a table.
whole   The same process, and somebody does ask for a table and a fit: what was put off is loaded after all (the null
        of lazy_import).
fleet   The same program as a server: it imports, serves one of each light command to be warm, and forks 4 workers of
        20 commands each. Summed over parent and workers.

PSS (a page shared by n processes counts 1/n) and RSS are of /proc/PID/smaps_rollup when all commands have ended and a
second has passed; peak is ru_maxrss (of `fleet`: the largest process). Printed are medians over rounds, and the paired
ratio to the line `without` with its 95 % bootstrap interval. The bound is the same program written by somebody who knew:
imports only where they are needed, one TLS context, no cycles, and gc.freeze before forking.

`tool_cache` is shown for what it costs: results of 64 KiB of which 2,000 differ, kept by the default bound of 16 MiB, by
one of 1 MiB, and by the program itself in a dictionary, as unbounded memos do (its `without` line).
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
from typing import Any

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Snapshot

PARAMETERS: dict[str, dict[str, Any]] = {
    "lazy_import": {"modules": ["openai", "pandas", "statsmodels.api", "jinja2"]},
    "resource_pool": {},
    "gc_tuning": {"threshold": 2_000, "idle_s": 0.2},
}
EVERYDAY = tuple(PARAMETERS)
HEAD = """
import functools, json, os, resource, sys, time
import otel_perfopt
"""
IMPORTS = "import jinja2\nimport openai\nimport pandas\nimport statsmodels.api as sm\n"
COMMANDS = """
kept = []
PAGE = "{% for item in items %}<li>{{ item }}</li>{% endfor %}"

def chat():
    kept.append(openai.OpenAI(api_key="none", base_url="http://127.0.0.1:1"))
    del kept[:-24]

def page():
    return len(jinja2.Template(PAGE).render(items=list(range(200))))

class Part:
    pass

def read():
    whole = Part()
    whole.parts = []
    for number in range(3000):
        part = Part()
        part.whole, part.text = whole, json.loads(json.dumps({"number": number, "text": "x" * 100}))
        whole.parts.append(part)
    return len(whole.parts)

def table():
    return float(pandas.DataFrame({"a": [1.0, 2.0]}).sum()["a"])

def fit():
    return sm.OLS([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).fit().params[0]
"""
# What somebody writes who knows what this process will need.
KNOWING = """
kept = []
PAGE = "{% for item in items %}<li>{{ item }}</li>{% endfor %}"

@functools.lru_cache(1)
def context():
    import httpx
    return httpx.create_ssl_context()

def chat():
    import httpx, openai
    kept.append(openai.OpenAI(api_key="none", base_url="http://127.0.0.1:1", http_client=httpx.Client(verify=context())))
    del kept[:-24]

def page():
    import jinja2
    return len(jinja2.Template(PAGE).render(items=list(range(200))))

def read():
    return sum(bool(json.loads(json.dumps({"number": number, "text": "x" * 100}))) for number in range(3000))

def table():
    import pandas
    return float(pandas.DataFrame({"a": [1.0, 2.0]}).sum()["a"])

def fit():
    import statsmodels.api as sm
    return sm.OLS([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]).fit().params[0]
"""
SERVE = """
LIGHT = {"/chat": chat, "/page": page, "/read": read}

def serve(count, more=()):
    for number in range(count):
        name, work = list(LIGHT.items())[number % len(LIGHT)]
        with otel_perfopt.command(name):
            work()
    for work in more:
        with otel_perfopt.command("/" + work.__name__):
            work()
    time.sleep(1.5)

def memory():
    said = dict(line.split()[:2] for line in open("/proc/self/smaps_rollup").read().splitlines()[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [int(said["Pss:"]) / 1024, int(said["Rss:"]) / 1024, peak / 1024]
"""
AGENT = "serve(60)\nprint(json.dumps(memory()))\n"
WHOLE = "serve(60, (table, fit))\nprint(json.dumps(memory()))\n"
FLEET = """
import gc
serve(3)
pipes = []
for worker in range(4):
    read_end, write_end = os.pipe()
    go_read, go_write = os.pipe()
    FREEZE
    pid = os.fork()
    if pid == 0:
        serve(20)
        os.write(write_end, b"r")
        os.read(go_read, 1)
        os.write(write_end, json.dumps(memory()).encode())
        os.read(go_read, 1)
        os._exit(0)
    pipes.append((read_end, go_write, pid))
for read_end, _, _ in pipes:
    os.read(read_end, 1)
for _, go_write, _ in pipes:
    os.write(go_write, b"m")
rows = [memory()] + [json.loads(os.read(read_end, 1000)) for read_end, _, _ in pipes]
for _, go_write, pid in pipes:
    os.write(go_write, b"e")
    os.waitpid(pid, 0)
print(json.dumps([sum(row[0] for row in rows), sum(row[1] for row in rows), max(row[2] for row in rows)]))
"""
CACHED = (
    HEAD
    + SERVE.replace('{"/chat": chat, "/page": page, "/read": read}', "{}")
    + """
@otel_perfopt.tool(effects="read")
def fetch(number):
    return [os.urandom(8).hex() * 4096]

fetched = {}
with otel_perfopt.command("/fetch"):
    for number in range(COUNT):
        KEEP
serve(0)
print(json.dumps(memory()))
"""
)


@dataclass(frozen=True)
class Variant:
    """One program under some policies; `base` names the line that it is compared with."""

    name: str
    base: str
    program: str
    policies: tuple[str, ...] = ()


def variants() -> list[Variant]:
    """Return every line of the table."""
    found = []
    for name, tail in (("agent", AGENT), ("whole", WHOLE), ("fleet", FLEET)):
        program = HEAD + IMPORTS + COMMANDS + SERVE + tail.replace("    FREEZE\n", "")
        base = f"{name}, without"
        found.append(Variant(base, base, program))
        found += [Variant(f"{name}, {policy}", base, program, (policy,)) for policy in EVERYDAY]
        found.append(Variant(f"{name}, all three", base, program, EVERYDAY))
        bound = HEAD + KNOWING + SERVE + tail.replace("FREEZE", "gc.freeze()")
        found.append(Variant(f"{name}, bound", base, bound))
    base = "results, without"
    memo = CACHED.replace("COUNT", "2000").replace("KEEP", "fetched[number] = fetch(number)")
    plain = CACHED.replace("COUNT", "2000").replace("KEEP", "fetch(number)")
    found.append(Variant(base, base, memo))
    found += [Variant(f"results, {name}", base, plain, (name,)) for name in ("cache 16 MiB", "cache 1 MiB")]
    found.append(Variant("results, bound", base, plain))
    return found


def decision(policy: str) -> Decision:
    """Return what puts a policy in force for everybody."""
    if policy.startswith("cache"):
        size = int(policy.split()[1]) << 20
        given = {"scope": "process", "ttl_s": 600.0, "max_bytes": size, "max_entries": 100_000}
        return Decision("cache", "d", "tool_cache", "active", Allocation(treatment=1.0), given)
    return Decision(policy, "d", policy, "active", Allocation(treatment=1.0), PARAMETERS[policy], unit="process")


def measured(variant: Variant, folder: Path) -> tuple[float, float, float]:
    """Run a program once: MiB of PSS, RSS and peak."""
    home = folder / "-".join(("home", *variant.policies)).replace(" ", "")
    home.mkdir(exist_ok=True)
    decisions = tuple(decision(policy) for policy in variant.policies)
    snapshot = Snapshot(1, time.time_ns(), 86400.0, decisions=decisions)
    (home / "snapshot.json").write_text(snapshot.to_json())
    env = run_environment({**os.environ, "PYTHONPATH": ""}, home)
    done = subprocess.run([sys.executable, "-c", variant.program], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{variant.name}: {done.stderr[-2000:]}")
    pss, rss, peak = json.loads(done.stdout.splitlines()[-1])
    return pss, rss, peak


def interval(ratios: list[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


def told(ratios: list[float]) -> str:
    """Return a ratio's median with its interval, as a change in per cent."""
    low, high = interval(ratios)
    return f"{statistics.median(ratios) - 1:+.0%} [{low - 1:+.0%}, {high - 1:+.0%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--only", default="", help="the lines that begin so")
    options = parser.parse_args()
    wanted = [variant for variant in variants() if variant.name.startswith(options.only)]
    samples: dict[str, list[tuple[float, float, float]]] = {variant.name: [] for variant in wanted}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for variant in random.Random(number).sample(wanted, len(wanted)):
                samples[variant.name].append(measured(variant, Path(folder)))
    print(f"{options.rounds} rounds, Python {sys.version.split()[0]}, {sys.platform}; goal: memory −25 %")
    print(f"{'':24}{'PSS MiB':>9}{'RSS MiB':>9}{'peak MiB':>10}   paired change to `without`, 95 %")
    for variant in wanted:
        rows, base = samples[variant.name], samples[variant.base]
        middle = [statistics.median(row[index] for row in rows) for index in range(3)]
        changes = [
            f"{word} {told([row[index] / other[index] for row, other in zip(rows, base, strict=True)])}"
            for index, word in enumerate(("PSS", "RSS", "peak"))
        ]
        compared = "" if variant.name == variant.base else "  ".join(changes)
        print(f"{variant.name:24}{middle[0]:9.1f}{middle[1]:9.1f}{middle[2]:10.1f}   {compared}")


if __name__ == "__main__":
    main()
