"""This analysis beside NeMo Agent Toolkit's profiler, on the same runs in turns: a virtual environment in, ratios out.

    python -m venv nat && nat/bin/pip install 'nvidia-nat[profiler]'
    python benchmarks/against_nat.py --nat nat [--runs 125 500] [--rounds 3]

Both get the runs (a command, four model calls, three tool calls) as the objects they take, in memory, in a process of
their own; the clock runs from there to the finished analysis, the imports left out. The profiler does what its own
documentation switches on (`nested` adds its nested call stacks and concurrency spikes); this analysis does all it has.
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
from pathlib import Path

from store_speed import spans_of_run

from otel_perfopt.analyse.analyser import Analyser
from otel_perfopt.execution.builder import executions_of
from otel_perfopt.report.document import report_json
from otel_perfopt.signal.read.recorded import open_recorded
from otel_perfopt.signal.source import ReadTally

THEIRS = """
import asyncio, json, logging, sys, tempfile, time
from pathlib import Path
logging.disable(logging.CRITICAL)
from nat.data_models.intermediate_step import (
    IntermediateStep, IntermediateStepPayload, IntermediateStepType as T, StreamEventData, UsageInfo)
from nat.data_models.invocation_node import InvocationNode
from nat.data_models.profiler import ProfilerConfig
from nat.data_models.token_usage import TokenUsageBaseModel
from nat.plugins.profiler.profile_runner import ProfilerRunner
import nat.plugins.profiler.inference_optimization.bottleneck_analysis.nested_stack_analysis
import nat.plugins.profiler.inference_optimization.experimental.concurrency_spike_analysis
import nat.plugins.profiler.inference_optimization.experimental.prefix_span_analysis

KINDS = {"command": (T.WORKFLOW_START, T.WORKFLOW_END), "chat": (T.LLM_START, T.LLM_END), "tool": (T.TOOL_START, T.TOOL_END)}
runs = json.loads(Path(sys.argv[1]).read_text())
nested = sys.argv[2] == "nested"
every = []
for run in runs:
    steps = []
    for span in run:
        start, end = KINDS[span["kind"]]
        ancestry = InvocationNode(function_id=run[0]["id"], function_name="ask", parent_id="root", parent_name="root")
        common = {"name": span["name"], "UUID": span["id"], "framework": "langchain"}
        usage = UsageInfo(token_usage=TokenUsageBaseModel(
            prompt_tokens=span["input"], completion_tokens=span["output"], total_tokens=span["input"] + span["output"]))
        data = StreamEventData(input=span["text"], output=span["text"])
        for kind, at, more in ((start, span["start"], {}), (end, span["end"],
                {"span_event_timestamp": span["start"], "usage_info": usage})):
            payload = IntermediateStepPayload(event_type=kind, event_timestamp=at, data=data, **common, **more)
            steps.append(IntermediateStep(
                parent_id="root" if span is run[0] else run[0]["id"], function_ancestry=ancestry, payload=payload))
    every.append(sorted(steps, key=lambda step: step.event_timestamp))
config = ProfilerConfig(base_metrics=True, token_uniqueness_forecast=True, workflow_runtime_forecast=True,
    compute_llm_metrics=True, csv_exclude_io_text=True,
    prompt_caching_prefixes={"enable": True, "min_frequency": 0.1},
    bottleneck_analysis={"enable_simple_stack": True, "enable_nested_stack": nested},
    concurrency_spike_analysis={"enable": nested, "spike_threshold": 7})
with tempfile.TemporaryDirectory() as folder:
    begin, cpu = time.perf_counter(), time.process_time()
    asyncio.run(ProfilerRunner(config, Path(folder)).run(every))
    print(json.dumps([time.perf_counter() - begin, time.process_time() - cpu]))
"""


def runs_of(count: int) -> list[list[dict]]:
    """Return runs as plain values, from the generator of the store's benchmark."""
    chance = random.Random(5)
    return [[_plain(span, place) for place, span in enumerate(spans_of_run(n, chance))] for n in range(count)]


def _plain(span: dict, place: int) -> dict:
    said = {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}
    kind = "command" if place == 0 else ("chat" if place % 2 else "tool")
    return {
        "kind": kind,
        "name": {"command": "ask", "chat": "gpt-5", "tool": "search"}[kind],
        "id": span["spanId"],
        "start": int(span["startTimeUnixNano"]) / 1e9,
        "end": int(span["endTimeUnixNano"]) / 1e9,
        "input": int(said.get("gen_ai.usage.input_tokens", 0)),
        "output": int(said.get("gen_ai.usage.output_tokens", 0)),
        "text": f"what is asked in step {place}: {said.get('gen_ai.tool.call.id', '')}",
    }


def ours(count: int) -> None:
    """Analyse in this process and print wall and CPU seconds."""
    chance = random.Random(5)
    every = [span for number in range(count) for span in spans_of_run(number, chance)]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "bench"}}]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spans.jsonl"
        document = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "b"}, "spans": every}]}]}
        path.write_text(json.dumps(document) + "\n")
        batches = list(open_recorded([path]).batches())
    begin, cpu = time.perf_counter(), time.process_time()
    analyser = Analyser()
    for batch in batches:
        for run in executions_of(batch):
            analyser.observe(run)
    report_json(analyser.result(ReadTally()))
    print(json.dumps([time.perf_counter() - begin, time.process_time() - cpu]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nat", type=Path, metavar="VENV")
    parser.add_argument("--runs", type=int, nargs="+", default=[125, 500])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        ours(arguments.ours)
        return
    if not arguments.nat:
        parser.error("--nat is needed")
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for count in arguments.runs:
        compare(arguments.nat, count, arguments.rounds)


def compare(nat: Path, count: int, rounds: int) -> None:
    """Run both in turns on the same runs and print the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.json"
        path.write_text(json.dumps(runs_of(count)))
        for kind in ("plain", "nested"):
            mine, theirs = [], []
            for _ in range(rounds):
                mine.append(_last([sys.executable, __file__, "--ours", str(count)]))
                theirs.append(_last([str(nat / "bin" / "python"), "-c", THEIRS, str(path), kind]))
            ratios = [sorted(b[at] / a[at] for a, b in zip(mine, theirs, strict=True)) for at in (0, 1)]
            print(
                f"{count} runs, {count * 8:,} spans, {kind}: this {statistics.median(one[1] for one in mine):.2f} s CPU, the "
                f"profiler {statistics.median(one[1] for one in theirs):.2f} s; ratio by CPU "
                f"{statistics.median(ratios[1]):.1f} ({ratios[1][0]:.1f} to {ratios[1][-1]:.1f}), by wall clock "
                f"{statistics.median(ratios[0]):.1f} ({ratios[0][0]:.1f} to {ratios[0][-1]:.1f})",
                flush=True,
            )


def _last(command: list[str]) -> list[float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-800:]}")
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
