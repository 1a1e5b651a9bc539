"""One family's packages at work: an interpreter and jobs in, the runs and steps that this project sees out."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otel_perfopt.execution.builder import executions_of
from otel_perfopt.execution.model import Execution, Step, StepKind
from otel_perfopt.signal.read.recorded import open_recorded

# Content on in every family, as a user would switch it on; the official one has it off by default.
CONTENT_ON = {
    "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY",
}
CONTENT_OFF = {
    "TRACELOOP_TRACE_CONTENT": "false",
    "OPENINFERENCE_HIDE_INPUTS": "true",
    "OPENINFERENCE_HIDE_OUTPUTS": "true",
}


@dataclass(frozen=True)
class Outcome:
    """What a family's run left: where its spans are, which package versions wrote them, how each job ended."""

    folder: Path
    states: dict[str, str]
    ended: dict[str, list[str]]
    installed: dict[str, str]

    def runs(self, job: str) -> list[Execution]:
        """Return a job's runs in order of time."""
        file = self.folder / f"{job}.jsonl"
        spans = [span for batch in open_recorded([file]).batches() for span in batch] if file.exists() else []
        return executions_of(spans)

    def steps(self, job: str, *kinds: StepKind) -> list[Step]:
        """Return a job's steps of the given kinds in order of time."""
        found = [step for run in self.runs(job) for step in run.steps if step.kind in kinds]
        return sorted(found, key=lambda step: step.start_ns)


def run_family(python: Path, jobs: list[dict[str, Any]], folder: Path, content: dict[str, str]) -> Outcome:
    """Do the jobs with the family that `python` has installed."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "jobs.json"
    listed.write_text(json.dumps(jobs))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PERFOPT_", "COV_"))}
    script = Path(__file__).with_name("family_run.py")
    done = subprocess.run(
        [python, script, listed, folder],
        env={**kept, **content, "PYTHONWARNINGS": "ignore", "TRACELOOP_TELEMETRY": "false"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads((folder / "result.json").read_text())
    return Outcome(folder, result["states"], result["ended"], result["installed"])
