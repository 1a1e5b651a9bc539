"""What agents did: the latest runs in, a list to search and one run step by step out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from otel_perfopt.analyse.analysis import Bar
from otel_perfopt.analyse.typical_run import waterfall_of
from otel_perfopt.console.desk import Visit
from otel_perfopt.console.drawing.timeline import timeline
from otel_perfopt.console.paging import first_row
from otel_perfopt.console.run_content import run_content
from otel_perfopt.console.run_shelf import MOST_RUNS
from otel_perfopt.console.trace_lines import recorded_run
from otel_perfopt.execution.model import Execution, Outcome, Step
from otel_perfopt.report.wording import UNKNOWN, count, seconds

_A_PAGE = 50
_MOST_STEPS = 400
_TRACE_ID = re.compile(r"[0-9a-zA-Z_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of a run: its facts in words, and where it lies on the run's line of time."""

    span_id: str
    name: str
    kind: str
    depth: int
    start: str
    duration: str
    critical: str
    tokens: str
    facts: str
    error: str
    drawn: Markup


def runs(visit: Visit) -> Response:
    """Show the latest runs that fit what is searched for."""
    query = visit.request.query_params
    trace_id = query.get("trace", "").strip()
    if trace_id:
        return RedirectResponse(f"/runs/{quote(trace_id, safe='')}", 303)
    command, outcome = query.get("command", "").strip(), query.get("outcome", "")
    conversation = query.get("conversation", "").strip()
    kept = visit.desk.runs.newest()
    fitting = [
        run
        for run in kept
        if command.lower() in run.command.name.lower()
        and conversation.lower() in run.conversation_id.lower()
        and outcome in {"", str(run.outcome)}
    ]
    start = first_row(query.get("from", ""), len(fitting))
    return visit.page(
        "runs.html",
        runs=fitting[start : start + _A_PAGE],
        fitting=len(fitting),
        kept=len(kept),
        most=MOST_RUNS,
        start=start,
        a_page=_A_PAGE,
        command=command,
        conversation=conversation,
        outcome=outcome,
        outcomes=[str(one) for one in Outcome],
    )


def run(visit: Visit) -> Response:
    """Show one run as a waterfall, its critical path marked."""
    trace_id, span_id = visit.request.path_params["trace_id"], visit.request.query_params.get("span", "")
    found = visit.desk.runs.find(trace_id, span_id)
    if found is None and _TRACE_ID.fullmatch(trace_id):
        found = recorded_run(visit.desk.settings.home, trace_id, span_id)
    if found is None:
        raise HTTPException(404, "there is no finished run of this trace in the telemetry of this home folder")
    drawn = waterfall_of(found)
    steps = {step.span_id: step for step in (found.command, *found.steps)}
    rows = [_row(bar, steps[bar.span_id], drawn.duration_s) for bar in drawn.bars[:_MOST_STEPS]]
    content = run_content(visit.desk.settings.home, trace_id) if visit.desk.settings.show_content else {}
    return visit.page(
        "run.html",
        run=found,
        rows=rows,
        left_out=drawn.left_out,
        marked=span_id,
        arms=_arms(found),
        content=content,
        shows_content=visit.desk.settings.show_content,
        waits=any(bar.waiting for bar in drawn.bars),
    )


def _row(bar: Bar, step: Step, duration_s: float) -> StepRow:
    facts = [f"effects {step.effects}"] if str(step.kind) == "tool" else []
    facts += [f"resource {step.resource}"] if step.resource else []
    facts += ["inferred, not observed"] if step.estimated else []
    facts += ["waits for a person"] if bar.waiting else []
    critical_s = sum(end - start for start, end in bar.critical)
    return StepRow(
        span_id=bar.span_id,
        name=bar.name or str(bar.kind),
        kind=str(bar.kind).replace("_", " "),
        depth=min(bar.depth, 6),
        start=seconds(bar.start_s),
        duration=seconds(bar.end_s - bar.start_s),
        critical=seconds(critical_s) if critical_s else "",
        tokens=_tokens(step),
        facts=", ".join(facts),
        error=bar.error_type or "",
        drawn=timeline(bar, duration_s),
    )


def _tokens(step: Step) -> str:
    used = step.tokens
    if used.total is None:
        return ""
    cached = f", {count(used.cache_read)} from cache" if used.cache_read else ""
    return f"{count(used.input)} in{cached}, {count(used.output)} out"


def _arms(found: Execution) -> list[tuple[str, str, str]]:
    return [(policy, one.arm, one.stage or UNKNOWN) for policy, one in sorted(found.arms.items())]
