"""What shortening tool results saves on recorded agents: the optimization itself, run over every request they made.

    python benchmarks/context_replay.py [--data ../shared/data]

Each recorded conversation is sent again request by request through `context_compression`, once with what loses
nothing and once with long results cut as well. Printed are the characters that leave, all of them and those that the
provider has not cached (what stands behind the longest beginning that the request before had), what the rewriting
itself takes, and in how many requests a beginning that was sent before had changed: that must be none.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from otel_perfopt.act.context_compression import ContextCompression
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.selection import Plan
from otel_perfopt.act.sent_plain import SentPlain
from otel_perfopt.act.tool_results import results_in
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.signal.calls import InferenceCall, RunContext
from otel_perfopt.signal.emit.sent_content import length

WAYS: dict[str, dict[str, Any]] = {"lossless": {}, "cut at 8,000": {"max_chars": 8000}}
DRAWS = 2000
# A cached token costs a tenth of one that is read anew.
CACHED = 0.1


@dataclass
class Saved:
    """Sums by conversation: characters sent and sent anew, before and after."""

    before: list[tuple[int, int]] = field(default_factory=list)
    after: list[tuple[int, int]] = field(default_factory=list)
    results: list[tuple[int, int]] = field(default_factory=list)
    broken: int = 0
    requests: int = 0
    seconds: float = 0.0


def tau_bench(data: Path) -> Iterator[tuple[str, list[Any]]]:
    with gzip.open(data / "tau-bench" / "gpt-4o-airline.json.gz", "rt") as file:
        for item in json.load(file):
            yield "openai.chat", item["traj"]


def claude_code(data: Path) -> Iterator[tuple[str, list[Any]]]:
    for path in sorted((data / "claude-code").glob("*.jsonl.gz")):
        messages: list[Any] = []
        with gzip.open(path, "rt") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    continue  # a torn line of the recording; `perfopt analyze` names it
                if record.get("type") in ("user", "assistant") and not record.get("isSidechain"):
                    messages.append({key: record["message"].get(key) for key in ("role", "content")})
        yield "anthropic.messages", messages


def requests_of(messages: list[Any]) -> Iterator[list[Any]]:
    """Yield what was sent for each reply."""
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and index and messages[index - 1]["role"] != "assistant":
            yield messages[:index]


def use_of(parameters: dict[str, Any]) -> Use:
    decision = Decision(
        "replay", "d", "context_compression", "active", Allocation(treatment=1.0), parameters, Match(command=("*",))
    )
    snapshot = Snapshot(1, time.time_ns(), 3600.0, decisions=(decision,))
    return Use(Plan.of(snapshot).inference_rules[0], shadow=False)


def anew(messages: list[Any], before: list[Any]) -> int:
    """Return the characters behind the beginning that the request before had as well."""
    same = 0
    for one, other in zip(messages, before, strict=False):
        if one != other:
            break
        same += 1
    return length(messages[same:])


def replay(conversations: Iterator[tuple[str, list[Any]]], parameters: dict[str, Any]) -> Saved:
    saved, use = Saved(), use_of(parameters)
    for number, (api, messages) in enumerate(conversations):
        optimization, run = ContextCompression(SentPlain()), RunContext("/task", f"c{number}")
        plain: list[Any] = []
        sent: list[Any] = []
        sums = np.zeros(4, dtype=int)
        whole = [0, 0]
        for request in requests_of(messages):
            given = {"messages": request}
            call = InferenceCall(api, "p", "m", print, given, dict(given), run)
            began = time.perf_counter()
            changed = optimization.rewrite(use, call).get("messages", request)
            saved.seconds += time.perf_counter() - began
            saved.broken += changed[: len(sent)] != sent
            saved.requests += 1
            sums += [length(request), anew(request, plain), length(changed), anew(changed, sent)]
            whole = [sum(len(item.text) for item in results_in(api, {"messages": side})) for side in (request, changed)]
            plain, sent = request, changed
        saved.before.append((int(sums[0]), int(sums[1])))
        saved.after.append((int(sums[2]), int(sums[3])))
        saved.results.append((whole[0], whole[1]))
    return saved


def share(before: np.ndarray, after: np.ndarray) -> str:
    """Return the share that is saved of the sums, with a bootstrap interval over conversations."""
    draws = np.random.default_rng(0).integers(0, len(before), (DRAWS, len(before)))
    ratios = 1 - after[draws].sum(axis=1) / np.maximum(1, before[draws].sum(axis=1))
    low, high = np.quantile(ratios, [0.025, 0.975])
    return f"{1 - after.sum() / before.sum():6.1%} [{low:5.1%}, {high:5.1%}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("PERFOPT_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(default))
    options = parser.parse_args()
    for name, recorded in (("tau-bench", tau_bench), ("claude-code", claude_code)):
        for way, parameters in WAYS.items():
            saved = replay(recorded(options.data), parameters)
            before, after, results = (np.array(item) for item in (saved.before, saved.after, saved.results))
            cost_before = before[:, 1] + CACHED * (before[:, 0] - before[:, 1])
            cost_after = after[:, 1] + CACHED * (after[:, 0] - after[:, 1])
            print(f"{name}, {way}: {len(before)} conversations, {saved.requests} requests")
            print(f"  of the tool results' characters  {share(results[:, 0], results[:, 1])}")
            print(f"  of all characters sent           {share(before[:, 0], after[:, 0])}")
            print(f"  of those not cached              {share(before[:, 1], after[:, 1])}")
            print(f"  of the input's price             {share(cost_before, cost_after)}")
            print(
                f"  a sent beginning changed in {saved.broken} requests; {saved.seconds / saved.requests * 1e3:.2f} ms each"
            )


if __name__ == "__main__":
    main()
