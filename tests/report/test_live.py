"""What `perfopt top` shows, counted from files as they grow."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext, StatusCode
from rich.console import Console, ConsoleDimensions

from otel_perfopt import conventions as c
from otel_perfopt.measure.meter import LiveMeter
from otel_perfopt.measure.meter_file import MeterFile
from otel_perfopt.report.live.growing_files import GrowingFiles
from otel_perfopt.report.live.metrics import LiveMetrics
from otel_perfopt.report.live.screen import head_of_spans, live_screen
from otel_perfopt.report.live.spans import LiveSpans
from otel_perfopt.report.live.window import MOST_NAMES, OTHERS, SLOTS, LiveWindow, RowKind
from otel_perfopt.signal.emit.ended_span import EndedSpan

NOW = 1_790_000_000 * 10**9
SECOND = 10**9


def span(trace, number, kind, name, *, ended_ago=1.0, lasted=0.5, parent="", error=False, tokens=(0, 0)):
    """Return one span as OTLP JSON has it."""
    named = {"command": c.COMMAND_NAME, "tool": c.GEN_AI_TOOL_NAME, "inference": c.GEN_AI_REQUEST_MODEL}[kind]
    texts = {c.STEP_KIND: kind, named: name}
    numbers = {c.GEN_AI_USAGE_INPUT_TOKENS: tokens[0], c.GEN_AI_USAGE_OUTPUT_TOKENS: tokens[1]}
    end = NOW - int(ended_ago * SECOND)
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "parentSpanId": parent,
        "name": name,
        "startTimeUnixNano": str(end - int(lasted * SECOND)),
        "endTimeUnixNano": str(end),
        "status": {"code": 2} if error else {},
        "attributes": [
            *({"key": key, "value": {"stringValue": value}} for key, value in texts.items()),
            *({"key": key, "value": {"intValue": value}} for key, value in numbers.items() if value),
        ],
    }


def line(*spans):
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"scope": {"name": "t"}, "spans": list(spans)}]}]}) + "\n"


def shown(window, width=120, height=40):
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(live_screen(window, ("home",), NOW, ConsoleDimensions(width, height)))
    return console.export_text()


def test_spans_are_counted_once_as_their_files_grow(tmp_path):
    """Commands, models and tools have their calls, errors, times and tokens; a torn line waits for its end."""
    file = tmp_path / "agent.jsonl"
    live = LiveSpans(tmp_path, window := LiveWindow(60))
    model = span(1, 1, "inference", "gpt", parent="a" * 16, tokens=(100, 7))
    tool = span(1, 2, "tool", "search", parent="a" * 16, error=True, lasted=0.2)
    second = line(span(1, 3, "command", "/query", lasted=2.0))
    file.write_text(line(model, tool) + second[:40])
    live.look(NOW)
    assert live.in_flight == 1
    assert window.rows(RowKind.COMMAND, NOW) == ()
    with file.open("a") as more:
        more.write(second[40:])
    live.look(NOW)
    live.look(NOW)
    (command,) = window.rows(RowKind.COMMAND, NOW)
    assert (command.name, command.calls, command.tokens_in, command.tokens_out) == ("/query", 1, 100, 7)
    assert command.p50_s == pytest.approx(2.0, rel=0.02)
    (called,) = window.rows(RowKind.TOOL, NOW)
    assert (called.name, called.calls, called.errors) == ("search", 1, 1)
    assert live.in_flight == 0


def test_a_run_that_nothing_is_heard_of_is_in_flight_no_longer(tmp_path):
    """After ten silent minutes a run whose command never ended is given up."""
    (tmp_path / "agent.jsonl").write_text(line(span(1, 1, "tool", "search", parent="a" * 16)))
    live = LiveSpans(tmp_path, LiveWindow(60))
    live.look(NOW)
    assert live.in_flight == 1
    live.look(NOW + 601 * SECOND)
    assert live.in_flight == 0


def test_the_window_forgets(tmp_path):
    """What ended before the window is shown no more, and its name is held no longer."""
    (tmp_path / "agent.jsonl").write_text(line(span(1, 1, "command", "/query")))
    live = LiveSpans(tmp_path, window := LiveWindow(60))
    live.look(NOW)
    assert "/query" in shown(window)
    assert window.rows(RowKind.COMMAND, NOW + 70 * SECOND) == ()
    assert "nothing ended" in shown(window)


def test_only_the_end_of_a_long_file_is_read_at_the_start(tmp_path):
    """Of what was written before the first look only the last bytes are read, whole lines each."""
    file = tmp_path / "agent.jsonl"
    file.write_bytes(b"".join(b'{"line": %d}\n' % number for number in range(10_000)))
    files = GrowingFiles(tmp_path, history_bytes=200)
    first = list(files.appended())
    assert 10 < len(first) < 20
    assert [json.loads(item)["line"] for item in first] == list(range(10_000 - len(first), 10_000))
    (tmp_path / "late.jsonl").write_bytes(b'{"line": 1}\n' * 100)
    assert len(list(files.appended())) == 100


@settings(deadline=None)
@given(pieces=st.lists(st.binary(max_size=40), max_size=12))
def test_lines_come_out_whole_and_once_however_they_are_written(tmp_path_factory, pieces):
    """Whatever pieces a file grows by, the lines read are those written."""
    folder = tmp_path_factory.mktemp("grow")
    files, read = GrowingFiles(folder), []
    for piece in pieces:
        with (folder / "a.jsonl").open("ab") as file:
            file.write(piece)
        read += files.appended()
    written = b"".join(pieces)
    whole = written[: written.rfind(b"\n") + 1]
    assert read == whole.splitlines()


def test_a_replaced_and_a_removed_file_are_no_trouble(tmp_path):
    """A file that became shorter is read anew; one that is gone is forgotten."""
    file = tmp_path / "a.jsonl"
    file.write_text("one\ntwo\n")
    files = GrowingFiles(tmp_path)
    assert list(files.appended()) == [b"one", b"two"]
    file.write_text("new\n")
    assert list(files.appended()) == [b"new"]
    file.unlink()
    assert list(files.appended()) == []
    assert files.files == 0


def test_memory_is_bounded_by_names_and_slots():
    """A hundred thousand names and calls leave two hundred rows and the common one, in some MB."""
    window = LiveWindow(60)
    tracemalloc.start()
    for number in range(100_000):
        end = NOW - (number % 50) * SECOND
        window.slot(RowKind.TOOL, f"tool-{number}", (end, end), NOW).add_duration(0.01 * (number % 90))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows = window.rows(RowKind.TOOL, NOW)
    assert len(rows) == MOST_NAMES + 1
    assert sum(row.calls for row in rows) == 100_000
    assert OTHERS in {row.name for row in rows}
    assert held < 8 << 20
    assert SLOTS == 12


def test_rates_and_how_many_at_once_follow_from_what_was_seen():
    """Sixty calls of two seconds in a minute are sixty a minute, two at a time."""
    window = LiveWindow(60)
    for ago in range(54):
        end = NOW - ago * SECOND
        window.slot(RowKind.COMMAND, "/a", (end - 2 * SECOND, end), NOW).add_duration(2.0)
    (row,) = window.rows(RowKind.COMMAND, NOW)
    assert row.a_minute == pytest.approx(60, rel=0.1)
    assert row.at_once == pytest.approx(2.0, rel=0.1)


def test_the_meters_files_give_the_same_figures_as_spans(tmp_path):
    """Where only metrics are kept, counts and tokens are exact and times within a bucket."""
    meter = LiveMeter(clock_ns=lambda: NOW)
    file = MeterFile(meter, tmp_path, "agent", Resource.create({}), every_s=0)
    told = {c.STEP_KIND: "inference", c.GEN_AI_REQUEST_MODEL: "gpt", c.GEN_AI_USAGE_INPUT_TOKENS: 50}
    context = SpanContext(1, 1, is_remote=False)
    for _ in range(20):
        meter.ended(EndedSpan(told, "chat", NOW - SECOND, NOW, context, None, StatusCode.UNSET, None, None, ()))
    file.close()
    live = LiveMetrics(tmp_path / "metrics", window := LiveWindow(60))
    live.look(NOW)
    (row,) = window.rows(RowKind.MODEL, NOW)
    assert (row.name, row.calls, row.tokens_in) == ("gpt", 20, 1000)
    assert row.p50_s == pytest.approx(1.0, rel=0.03)
    assert live.broken == 0
    with next((tmp_path / "metrics").glob("*.jsonl")).open("a") as more:
        more.write('{"resourceMetrics": [{}]}\nnot json\n')
    live.look(NOW)
    assert live.broken == 2


@pytest.mark.parametrize("width", [60, 80, 130])
def test_the_screen_fits_and_shows_no_control_characters(width):
    """Every line fits the terminal, rows fit its height, and a name cannot command it."""
    window = LiveWindow(60)
    for number in range(60):
        for kind in RowKind:
            name = f"\x1b]0;owned\x07{number}"
            window.slot(kind, name, (NOW - SECOND, NOW), NOW).add_duration(1.0)
    text = shown(window, width, 40)
    assert "\x1b" not in text.replace("\x1b[", "")
    assert all(len(item) <= width for item in text.splitlines())
    assert len(text.splitlines()) <= 42
    assert "command +" in text


def test_the_head_says_what_could_not_be_read():
    """Problems are told only where there are some."""
    assert head_of_spans("h", 1, 2, 0) == ("2 runs in flight", "1 file", "h")
    assert head_of_spans("h", 1, 2, 3)[-2] == "3 not read"
