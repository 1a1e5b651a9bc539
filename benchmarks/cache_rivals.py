"""What a hit of a reply cache costs, ours beside LiteLLM's and GPTCache's, asked in turn in one run.

    python benchmarks/cache_rivals.py [--rounds 30] [--environments FOLDER]

Each rival is installed from the package index in an environment of its own (once, kept in FOLDER). Ours and
LiteLLM's answer through a client's whole call; GPTCache's map answers a plain text, which is less work. CPU time of
the calling process, medians over blocks of 200 hits, differences paired by block with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

PARTS = Path(__file__).resolve().parent / "cache_parts"
RIVALS = {"litellm": ("litellm_cache.py", "litellm[proxy]"), "gptcache": ("gptcache_map.py", "gptcache")}
DRAWS = 2000


def python_of(folder: Path, name: str, requirement: str) -> str | None:
    """Return a rival's interpreter; None where it does not install."""
    home = folder / name
    if not (home / "bin" / "python").exists():
        venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", requirement], check=False)
    return str(python) if done.returncode == 0 else None


def started(python: str, script: str) -> subprocess.Popen[str] | None:
    process = subprocess.Popen([python, script], cwd=PARTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "READY":
            return process
    process.wait()
    return None


def block(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "otel-perfopt" / "rivals")
    options = parser.parse_args()
    options.environments.mkdir(parents=True, exist_ok=True)
    processes = {"ours": started(sys.executable, "ours.py")}
    for name, (script, requirement) in RIVALS.items():
        python = python_of(options.environments, name, requirement)
        processes[name] = started(python, script) if python else None
    taken: dict[str, list[float]] = {name: [] for name, process in processes.items() if process is not None}
    for number in range(options.rounds):
        names = list(taken)
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            taken[name].append(block(processes[name]))  # type: ignore[arg-type]  # those without one are left out
    ours = np.array(taken["ours"])
    print(f"{'ours':10} {np.median(ours):8.1f} µs a hit")
    for name in RIVALS:
        if name not in taken:
            print(f"{name:10} did not run here")
            continue
        difference = np.array(taken[name]) - ours
        draws = np.random.default_rng(0).integers(0, len(ours), (DRAWS, len(ours)))
        low, high = np.quantile(np.median(difference[draws], axis=1), [0.025, 0.975])
        print(
            f"{name:10} {np.median(taken[name]):8.1f} µs a hit, {np.median(difference):+.1f} [{low:+.1f}, {high:+.1f}] to ours"
        )
    for process in processes.values():
        if process is not None:
            process.kill()


if __name__ == "__main__":
    main()
