"""What each optimization saves on recorded agents: their runs done again through the runtime, with and without it.

    python benchmarks/replays.py [--data ../shared/data] [--only tau-bench,claude-code] [--runs 200]

An agent asks its models and calls its tools as it was recorded: the same requests, replies, arguments, results and
durations, tools that overlapped overlap again. Between it and them stands the real runtime with real decisions.
The loop's clock jumps over what it would sleep, so durations are unscaled, and to them the processor time that
was really taken is added: our own cost is inside every figure. Model calls take their recorded time however much
shorter a request is: saved tokens are not credited as time.

Each row is paired with the same runs as they are, and gives the share saved of the sums, with a 95 % bootstrap
interval over conversations: time of runs, input tokens (one read from the provider's cache counts as a tenth), and
USD of the shipped price table. Beside it what the what-if analysis foretells for the same runs, and the most that
anything of the kind could save (of all time, or of all input tokens). `false` counts the tool calls whose result
is another than the recorded one: it must be 0. `preload` goes by rules mined from the other half of the conversations.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

sys.path.insert(0, str(Path(__file__).resolve().parent))

from replay_parts.marked_form import in_marked_form
from replay_parts.played import Played
from replay_parts.played_halves import Halves
from replay_parts.possible import possible
from replay_parts.recorded_turn import Conversation
from replay_parts.recordings import claude_code, executions, intercode, lmcache, tau_bench
from replay_parts.replay_table import table
from replay_parts.replay_variants import Variant, variants_of
from replay_parts.sent_tokens import AUTOMATIC, OWN_MARKS

REQUESTS = ("context_compression", "prompt_tidy", "response_cache")


@dataclass(frozen=True)
class DataSet:
    """A data set: how it is read and priced, and what applies to it; `notes` say what does not, and why."""

    name: str
    read: Callable[[Path, int], Iterator[Conversation]]
    optimizations: tuple[str, ...]
    priced_as: str = ""
    rule: str = AUTOMATIC
    marked: bool = True
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


NO_BATCHES = "batch_tools: not applicable, no recorded tool has a form for many"
# What is claimed of tools' effects is the readers' own table (signal/tool_effects.py): tau-bench and intercode by
# a function's first word (`get_`, `search_`, `list_`, `query_`, `calculate`, `think` read), Claude Code by name; a
# shell command may do anything.
DATA_SETS = (
    DataSet(
        "tau-bench",
        tau_bench,
        ("tool_cache", "parallel_tools", "preload", *REQUESTS, "selective_context", "prompt_cache"),
        priced_as="gpt-4o",
        own={"selective_context": {"under": ["airline agent policy"], "max_sections": 1, "min_chars": 500}},
        notes=(NO_BATCHES, "selective_context: whether answers stay as good is not for a replay to show"),
    ),
    DataSet(
        "claude-code",
        claude_code,
        ("tool_cache", "parallel_tools", "preload", "context_compression", "response_cache"),
        rule=OWN_MARKS,
        marked=False,
        notes=(
            NO_BATCHES,
            "prompt_cache: the agent marks its prompts itself",
            "prompt_tidy, selective_context: system prompt and tools are not in the recording",
        ),
    ),
    DataSet(
        "intercode",
        intercode,
        ("tool_cache", "parallel_tools", "preload", *REQUESTS, "prompt_cache"),
        priced_as="gpt-4o",
        notes=(
            NO_BATCHES,
            "selective_context: there is no system prompt",
            "priced as gpt-4o: GPT-3.5 and GPT-4 are listed no more",
        ),
    ),
    DataSet(
        "lmcache-agent-trace",
        lmcache,
        ("tool_cache", "parallel_tools", *REQUESTS, "prompt_cache"),
        priced_as="gpt-4o",
        notes=(
            NO_BATCHES,
            "tools: shell commands only, which may do anything; their time is inside the model calls'",
            "priced as gpt-4o: no model is named; selective_context: no prompt with sections told apart",
        ),
    ),
)
MARKED_PRICE = "claude-sonnet-4-5"


def replayed(data_set: DataSet, data: Path, runs: int, progress: Progress) -> list[str]:
    """Replay one data set under every variant; returns the lines to print."""
    conversations = list(data_set.read(data, runs))
    variants = variants_of(data_set.optimizations, marked=data_set.marked)
    bar = progress.add_task(data_set.name, total=len(variants) * len(executions(conversations)))
    tell = partial(progress.advance, bar)
    marked = [in_marked_form(conversation) for conversation in conversations] if data_set.marked else []
    halves = Halves(conversations, data_set.own, data_set.rule, data_set.priced_as, tell)
    of_marked = replace(halves, conversations=marked, rule="marked", priced_as=MARKED_PRICE)
    played = {variant.name: (of_marked if variant.marked else halves).play(variant) for variant in variants}
    return [*told(data_set, conversations, variants, played), ""]


def told(
    data_set: DataSet,
    conversations: Sequence[Conversation],
    variants: Sequence[Variant],
    played: Mapping[str, Sequence[Played]],
) -> list[str]:
    """Return the lines about one data set: what was replayed, its table, what is not in it."""
    runs, base = executions(conversations), played["baseline"]
    timed = all(run.timed for run in runs)
    tokens, cached = sum(row.paid.input for row in base), sum(row.paid.cached for row in base)
    recorded_s, replayed_s = sum(run.duration_s for run in runs), sum(row.seconds for row in base)
    spent = f"{replayed_s:,.0f} s as replayed ({recorded_s:,.0f} s as recorded)" if timed else "no times recorded"
    known = [run.tokens.cache_read for run in runs if run.tokens.cache_read is not None]
    beside = f" ({sum(known) / tokens:.1%} as recorded)" if known else ""
    lines = [
        f"{data_set.name}: {len(conversations)} conversations, {len(runs)} runs, "
        f"{sum(len(turn.rounds) for each in conversations for turn in each.turns):,} model calls, "
        f"{sum(row.calls for row in base):,} tool calls; {spent}",
        f"  baseline: {tokens:,.0f} input tokens, {cached / tokens:.1%} of them cached{beside}, "
        f"${sum(row.paid.usd for row in base):,.2f}",
        *table(variants, played, possible(runs), timed=timed),
    ]
    wrong = [line for rows in played.values() for row in rows for line in row.wrong]
    return [*lines, *(f"  false: {line}" for line in wrong[:5]), *(f"  {note}" for note in data_set.notes)]


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


if __name__ == "__main__":
    main()
