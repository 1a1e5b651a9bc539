"""Run with an interpreter that has one family of instrumentations: jobs in, the family's own spans out.

Usage: python family_run.py JOBS.json FOLDER. A job (name; cassette, run, asynchronous, hosted) makes the
calls of a cassette again, or runs an agent on its replies. Its spans go to `FOLDER/<name>.jsonl` as OTLP
JSON lines by the official exporter; `FOLDER/result.json` says what is installed and how each job ended.
Nothing of this project is imported: what is written is what the packages write.
"""

# ruff: noqa: PLC0415 - an environment has only the packages that its jobs need
from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import sys
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.json.file.trace_exporter import FileSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

sys.path.insert(0, str(Path(__file__).parent))

import agent_runs
import recorded_call


class OneFileAJob(SpanExporter):
    """Hands spans to the official file exporter, one file for the job under way."""

    def __init__(self) -> None:
        self.path: Path | None = None

    def export(self, spans: Any) -> SpanExportResult:
        """Write one batch."""
        if self.path is None:
            return SpanExportResult.SUCCESS
        exporter = FileSpanExporter(path=str(self.path))
        try:
            return exporter.export(spans)
        finally:
            exporter.shutdown()

    def shutdown(self) -> None:
        """Write no more."""
        self.path = None


def instrument(provider: TracerProvider) -> dict[str, str]:
    """Switch every installed instrumentation on but ours, as `opentelemetry-instrument` does; package -> state."""
    states = {}
    for entry in importlib.metadata.entry_points(group="opentelemetry_instrumentor"):
        if entry.dist is None or entry.dist.name == "otel-perfopt":
            continue
        try:
            entry.load()().instrument(tracer_provider=provider)
            states[entry.dist.name] = "on"
        except Exception as error:
            states[entry.dist.name] = f"{type(error).__name__}: {error}"
    return states


def do(job: dict[str, Any]) -> list[str]:
    """Do one job; return by call the kind of error it ended with, empty for none."""
    cassette, agent = job.get("cassette"), job.get("run")
    if cassette is None:
        return [agent_runs.RUNS[agent]()]
    import vcr

    with vcr.VCR(record_mode="none", match_on=("method", "path")).use_cassette(cassette):
        if agent in agent_runs.RUNS:
            return [agent_runs.RUNS[agent]()]
        calls = recorded_call.recorded_calls(Path(cassette))
        if agent == "langchain":
            return [agent_runs.langchain_calls(calls)]
        return [recorded_call.make_again(call, asynchronous=bool(job.get("asynchronous"))) for call in calls]


def main(jobs_file: str, folder: str) -> None:
    """Do all jobs of the file."""
    logging.disable(logging.CRITICAL)
    exporter = OneFileAJob()
    provider = TracerProvider(resource=Resource({"service.name": "family"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    states, ended = instrument(provider), {}
    host = provider.get_tracer("host")
    for job in json.loads(Path(jobs_file).read_text()):
        exporter.path = Path(folder, f"{job['name']}.jsonl")
        hosted = host.start_as_current_span(job["name"]) if job.get("hosted", True) else contextlib.nullcontext()
        try:
            with hosted:
                ended[job["name"]] = do(job)
        except Exception as error:
            ended[job["name"]] = [f"{type(error).__name__}: {error}"]
    installed = {found.name.lower(): found.version for found in importlib.metadata.distributions()}
    Path(folder, "result.json").write_text(json.dumps({"states": states, "ended": ended, "installed": installed}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
