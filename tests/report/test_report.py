"""One analysis, shown three ways."""

from __future__ import annotations

import io
import json
import re
from dataclasses import fields, replace

import pytest
from rich.console import Console

from otel_perfopt.analyse import analysis as types
from otel_perfopt.analyse.finding import Effect, Evidence, Finding, Interval, Suggestion
from otel_perfopt.execution.model import StepKind, Target, TokenUsage
from otel_perfopt.report.document import report_json
from otel_perfopt.report.document_reference import reference
from otel_perfopt.report.html import report_html
from otel_perfopt.report.sections import report_sections
from otel_perfopt.report.terminal import print_report
from otel_perfopt.signal.source import ReadProblem

EVIL = "a\x1b]0;owned\x07\x00\ud800\u202e"
HOSTILE = "<script>alert('x')</script>[bold]'\\"


@pytest.fixture
def analysis():
    """Return an analysis with every part filled, and names that try to break out of markup."""
    target = Target(command=HOSTILE, tool="search_docs")
    row = types.UsageRow(
        target, HOSTILE, 10, 1, timed=10, p50_s=1.0, p95_s=2.0, total_s=12.0, self_s=3.0, critical_s=9.0
    )
    finding = Finding(
        "repeated_call",
        target,
        f"{HOSTILE} was called again",
        "repeated_call",
        Effect("latency", "s", relative=Interval(0.2, 0.1, 0.3)),
        evidence=(Evidence("a" * 32, location="sessions.jsonl:7"),),
        suggestion=Suggestion("tool_cache"),
    )
    bars = (
        types.Bar("1", HOSTILE, StepKind.COMMAND, 0, 0.0, 3.0),
        types.Bar("2", "chat", StepKind.INFERENCE, 1, 0.0, 1.0, critical=((0.0, 1.0),)),
        types.Bar("3", "search_docs", StepKind.TOOL, 1, 1.0, 3.0, critical=((1.0, 3.0),), error_type="timeout"),
    )
    return types.Analysis(
        tally=types.InputTally(
            1, 20, 900, 40, {"broken_line": 3}, (ReadProblem("sessions.jsonl", 9, "broken_line", "cut off"),)
        ),
        window_ns=(1_760_000_000_000_000_000, 1_760_003_600_000_000_000),
        counts=types.Counts(
            runs=10,
            timed_runs=10,
            failed_runs=1,
            conversations=5,
            inferences=30,
            tool_calls=60,
            tool_errors=2,
            run_time_s=12.0,
        ),
        commands=(row,),
        models=(row,),
        tools=(row,),
        tokens=TokenUsage(input=1000, output=200),
        time_shares=(types.TimeShare("tool", 6.0, 0.5), types.TimeShare("inference", 6.0, 0.5)),
        thinking=types.Thinking(3, 4.0, 0.3, 100, 0.5, 1.0),
        context=types.ContextUse(
            growth=(types.ContextPoint(1, 5, 10, 20, 30), types.ContextPoint(2, 5, 20, 30, 40)), input_tokens=1000
        ),
        parallelism=types.Parallelism(10, 2, 5, 3, 0.2, 1.1, 1.3, 2.0, 8, 4, 0.5),
        repetition=types.Repetition(60, 50, 5, 3, 0.1, 0.06, (types.RepeatRow("search_docs", 20, 5, 3, 2, 3, 0.4),)),
        errors=(types.ErrorRow("timeout", target, 2, 0.03, 1, 2.0, 50),),
        next_steps=types.NextSteps(tool_bigrams=(types.Pattern(("a", "b"), 4, 0.5),)),
        waterfall=types.Waterfall("a" * 32, "c", "sessions.jsonl:1", HOSTILE, 0, 3.0, bars),
        opportunities=(
            types.Opportunity("tool_cache", target, Interval(0.2, 0.1, 0.3), Interval(0.2, 0.1, 0.3), 0.4, 10, 5, 5, 9),
        ),
        findings=(finding,),
    )


def test_the_terminal_shows_every_section_and_the_findings_last(analysis):
    """Nothing of a report is left out in a terminal, and the findings stand where one looks first."""
    output = io.StringIO()
    print_report(analysis, Console(file=output, width=160))
    text = output.getvalue()
    titles = [section.title for section in report_sections(analysis)]
    assert all(title in text for title in titles)
    assert text.index("Findings") > max(text.index(title) for title in titles if title != "Findings")
    assert "[bold]" in text


def test_the_page_is_self_contained_and_escapes_what_was_recorded(analysis):
    """The page loads nothing from anywhere, runs no script, and shows hostile names as text."""
    page = report_html(analysis)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)=[\"'](?!#)", page)
    assert page.count("<svg") == 4
    assert page.count("</svg>") == 4


def test_the_document_holds_every_field_and_is_strict_json(analysis):
    """Every field of the analysis is in the JSON document, and what is unknown is null."""
    document = json.loads(report_json(analysis), parse_constant=pytest.fail)
    assert {field.name for field in fields(types.Analysis)} <= set(document)
    assert document["format"] == "perfopt.report"
    assert document["counts"]["run_time_s"] == 12.0
    assert document["cost_usd"] is None


def test_an_empty_analysis_still_reports():
    """A report of nothing says so and breaks nowhere."""
    empty = types.Analysis(types.InputTally(), None, types.Counts())
    print_report(empty, Console(file=io.StringIO()))
    assert "Nothing stood out" in report_html(empty)


def test_the_described_document_is_the_one_that_is_written(request):
    """docs/report-json.md is what the types say (python -m otel_perfopt.report.document_reference)."""
    page = request.config.rootpath / "docs" / "report-json.md"
    assert page.read_text(encoding="utf-8") == reference()


def test_recorded_names_do_nothing_to_a_terminal_or_a_drawing(analysis):
    """Escape sequences, half surrogates and what turns text around are written out, not obeyed."""
    bars = (types.Bar("1", EVIL, StepKind.COMMAND, 0, 0.0, 3.0), types.Bar("2", EVIL, StepKind.TOOL, 1, 0.0, 1.0))
    run = replace(analysis.waterfall, bars=bars)
    evil = replace(analysis, commands=(replace(analysis.commands[0], name=EVIL),), waterfall=run)
    stream = io.StringIO()
    print_report(evil, Console(file=stream, width=200, color_system=None))
    assert not set(stream.getvalue()) & {"\x1b", "\x00", "\x07", "\ud800", "\u202e"}
    assert r"\x1b]0;owned\x07\x00\ud800\u202e" in stream.getvalue()
    page = report_html(evil)
    assert not set(page) & {"\x1b", "\x00", "\x07", "\ud800", "\u202e"}
    assert json.loads(report_json(evil).encode("utf-8", "backslashreplace"))["commands"][0]["name"] == EVIL


def test_a_long_name_of_pictures_is_drawn(analysis):
    """The page is written whatever is in a label that is cut."""
    bars = (types.Bar("1", "🔧" * 60, StepKind.COMMAND, 0, 0.0, 3.0),)
    page = report_html(replace(analysis, waterfall=replace(analysis.waterfall, bars=bars)))
    assert "□□□" in page
