"""How much of the window is used, before and after: recorded agents and the example agent, under what shortens contexts.

    python benchmarks/savings_useful.py [--data ../shared/data] [--conversations 40]

Each request is sent through the optimization as the agent would, with the recorded replies as they are. Of the
characters sent, those are useful whose passage this reply or a later one demonstrably used: a value that stands
nowhere before it, five words in a row, a tool that is called (`otel_perfopt/analyse/useful_passages.py`). That is
an estimate, and a low one. Printed are the share before and after, the change of the share with a 95 % bootstrap
interval over conversations, what part of the used characters is still there, and the bound: the same replies on
requests of which only what they used is left.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from context_replay import claude_code, tau_bench
from savings_parts.exchanges import example_agent, recorded

from otel_perfopt.act.context_compression import ContextCompression
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.retention import retention
from otel_perfopt.act.selection import Plan
from otel_perfopt.act.selective_context import SelectiveContext
from otel_perfopt.act.sent_plain import SentPlain
from otel_perfopt.analyse.useful_passages import Exchange, PassageUse, passage_use
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.signal.calls import InferenceCall, InferenceOutcome, RunContext, ToolRequest
from otel_perfopt.signal.quoted import MarkMemo

DRAWS = 2000
GOAL = 0.30
SELECT = {"max_sections": 1, "min_chars": 500}
Conversation = tuple[str, list[Exchange]]


@dataclass(frozen=True)
class Way:
    """What is done to each request: optimizations with their parameters, in their order."""

    name: str
    steps: tuple[tuple[str, dict[str, Any]], ...]


def ways(under: list[str]) -> list[Way]:
    select = ("selective_context", {**SELECT, "under": under})
    squeeze, cut = ("context_compression", {}), ("context_compression", {"max_chars": 4000})
    found = [Way("context_compression", (squeeze,)), Way("cut at 4,000", (cut,))]
    if under:
        found = [Way("selective_context", (select,)), *found, Way("both", (select, squeeze))]
    return found


def changed(way: Way, api: str, exchanges: list[Exchange], number: int) -> Iterator[Exchange]:
    """Yield the exchanges with their requests as they would have been sent."""
    made = {"selective_context": SelectiveContext, "context_compression": ContextCompression}
    steps = [(made[name](SentPlain()), use_of(name, parameters)) for name, parameters in way.steps]
    run = RunContext("/task", f"c{number}")
    for exchange in exchanges:
        given = dict(exchange.request)
        call = InferenceCall(api, "p", "m", print, given, dict(given), run)
        for optimization, use in steps:
            call.kwargs.update(optimization.rewrite(use, call))
        yield replace(exchange, request=call.kwargs)


def use_of(optimization: str, parameters: dict[str, Any]) -> Use:
    decision = Decision(
        "useful", "d", optimization, "active", Allocation(treatment=1.0), parameters, Match(command=("*",))
    )
    snapshot = Snapshot(1, time.time_ns(), 3600.0, decisions=(decision,))
    return Use(Plan.of(snapshot).inference_rules[0], shadow=False)


def kept(before: Iterable[Exchange], after: Iterable[Exchange]) -> tuple[int, int]:
    """Return how many marks replies took from what is changed, and how many of them are still there, as shadow counts them."""
    used, still, memo = 0, 0, MarkMemo()
    for one, other in zip(before, after, strict=True):
        requests = tuple(ToolRequest("", name, {"": arguments}) for name, arguments in one.calls)
        found = retention(one.request, other.request, InferenceOutcome(requests=requests, text=one.text), memo)
        if found is not None:
            used, still = used + found.used, still + found.kept
    return used, still


def ratio(rows: np.ndarray) -> np.ndarray:
    """Return the change of the share: rows of (useful, sent) before and after, summed."""
    sums = rows.sum(axis=-2)
    return (sums[..., 2] / sums[..., 3]) / (sums[..., 0] / sums[..., 1]) - 1


def print_way(way: Way, api: str, conversations: list[Conversation], before: list[PassageUse]) -> None:
    rows, marks = [], np.zeros(2, dtype=int)
    for number, ((_, exchanges), was) in enumerate(zip(conversations, before, strict=True)):
        after = list(changed(way, api, exchanges, number))
        now = passage_use(after)
        rows.append((was.useful, was.sent, now.useful, now.sent))
        marks += kept(exchanges, after)
    table = np.array(rows, dtype=float)
    drawn = np.random.default_rng(0).integers(0, len(table), (DRAWS, len(table)))
    low, high = np.quantile(ratio(table[drawn]), [0.025, 0.975])
    change, sums = float(ratio(table)), table.sum(axis=0)
    still = f"{marks[1] / marks[0]:.1%} of {marks[0]}" if marks[0] else "nothing used of what changed"
    told = "reached" if low >= GOAL else "not shown" if high >= GOAL else "missed"
    print(
        f"  {way.name:22} {sums[2] / sums[3]:6.1%}  change {change:+7.1%} [{low:+.1%}, {high:+.1%}]  goal +30 %: {told};"
        f"  characters {sums[3] / sums[1] - 1:+.1%};  marks kept {still}"
    )


def print_figures(name: str, api: str, conversations: list[Conversation], under: list[str]) -> None:
    before = [passage_use(exchanges) for _, exchanges in conversations]
    sent, useful = sum(one.sent for one in before), sum(one.useful for one in before)
    repeated, tools = sum(one.repeated for one in before), sum(one.unused_tools for one in before)
    print(f"{name}: {len(conversations)} conversations, {sum(len(found) for _, found in conversations)} requests")
    print(
        f"  as it is               {useful / sent:6.1%}  repeated {repeated / sent:.1%}, unused tools {tools / sent:.1%}"
    )
    for way in ways(under):
        print_way(way, api, conversations, before)
    print(f"  bound                  100.0%  change {sent / useful - 1:+.0%}: only what is used is sent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("PERFOPT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--conversations", type=int, default=40, help="of each kind, at most")
    options = parser.parse_args()
    live = [("", found) for found in example_agent(options.conversations)]
    print_figures("example agent", "openai.chat", live, ["documentation"])
    if not options.data.is_dir():
        print(f"recordings skipped: no recorded data at {options.data}")
        return
    airline = [
        (api, list(recorded(messages)))
        for api, messages in itertools.islice(tau_bench(options.data), options.conversations)
    ]
    print_figures("tau-bench", "openai.chat", airline, ["airline agent policy"])
    # A window of the first 150 messages: later ones of long sessions would outweigh all others.
    coding = [
        (api, list(recorded(messages[:150])))
        for api, messages in itertools.islice(claude_code(options.data), options.conversations)
    ]
    print_figures("claude-code (no system prompt in the recording)", "anthropic.messages", coding, [])


if __name__ == "__main__":
    main()
