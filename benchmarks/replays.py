"""What each optimization saves on recorded agents: their runs done again through the runtime, with and without it.

    python benchmarks/replays.py [--data ../shared/data] [--only tau-bench,claude-code] [--runs 200]

An agent asks its models and calls its tools as it was recorded: the same requests, replies, arguments, results and
durations, tools that overlapped overlap again. Between it and them stands the real runtime with real decisions.
The loop's clock jumps over what it would sleep, so durations are unscaled, and to them the processor time that
was really taken is added: our own cost is inside every figure. Model calls take their recorded time however much
shorter a request is: saved tokens are not credited as time.

Each row is paired with the same runs as they are, and gives the share saved of the sums, with a 95 % bootstrap
interval over conversations: time of runs, input tokens sent, the same `as if new` (one read from the provider's cache
counts as a tenth), and USD of the shipped price table. Beside it what the what-if analysis foretells for the same
runs, and the most that anything of the kind could save (of all time, or of all input tokens). `false` counts the
tool calls whose result, and the model calls whose reply, is another than the recorded one: it must be 0. `own ms` is
the processor time that it takes for each call of a model or a tool. `preload` goes by rules mined from the other half
of the conversations. Rows `marked` are the same conversations with a provider that caches only what is marked, beside
a baseline without marks. A provider's cache is modelled by its published rule, and is empty when a conversation begins.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from replay_parts.data_sets import DATA_SETS, DataSet
from replay_parts.marked_form import in_marked_form
from replay_parts.played_halves import Halves
from replay_parts.recordings import executions
from replay_parts.replay_report import kept_of, told
from replay_parts.replay_variants import variants_of
from replay_parts.sent_tokens import MARKED

TARGETS = """Targets of the specification: command time −30 %, tool execution +35 % (−26 % time), tokens −20 % at held quality."""
# What the rows at a provider that caches only what is marked are priced as.
MARKED_PRICE = "claude-sonnet-4-5"


def replayed(data_set: DataSet, data: Path, runs: int, progress: Progress) -> list[str]:
    """Replay one data set under every variant; returns the lines to print."""
    conversations = list(data_set.read(data, runs))
    variants = variants_of(data_set.optimizations, marked=data_set.marked, apart=data_set.apart)
    bar = progress.add_task(data_set.name, total=len(variants) * len(executions(conversations)))
    tell = partial(progress.advance, bar)
    marked = [in_marked_form(conversation) for conversation in conversations] if data_set.marked else []
    halves = Halves(conversations, data_set.own, data_set.rule, data_set.priced_as, tell, kept_of(data_set))
    of_marked = replace(halves, conversations=marked, rule=MARKED, priced_as=MARKED_PRICE)
    played = {variant.name: (of_marked if variant.marked else halves).play(variant) for variant in variants}
    return [*told(data_set, conversations, variants, played), ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("PERFOPT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--only", default="", help="data sets, with commas between")
    parser.add_argument("--runs", type=int, default=200, help="conversations of each data set, at most")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: no recorded data at {options.data}")
        return
    only = [name for name in options.only.split(",") if name] or [each.name for each in DATA_SETS]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for data_set in (each for each in DATA_SETS if each.name in only):
            for line in replayed(data_set, options.data, options.runs, progress):
                print(line, flush=True)
    print(TARGETS)


if __name__ == "__main__":
    main()
