"""The tables of an analysis say what was written into the runs."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from planted import MONDAY_NS, SECOND, PlantedSource, RunWriter

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.ranking import distinct_suggestions, ranked
from otel_perfopt.analyse.worth import Wholes, with_worth
from otel_perfopt.execution.model import Outcome, StepKind, Target, ToolEffects
from otel_perfopt.measure.price import PriceTable


def analysis_of(*writers, **options):
    return analyse(PlantedSource([writer.done() for writer in writers]), **options)


def test_rows_hold_counts_errors_times_and_tokens():
    """Two searches of one and three seconds, one of them failed, asked for by a model with its tokens."""
    writer = RunWriter("/task")
    writer.infer(2.0, sent=100, out=20, read=60)
    writer.tool("search", 1.0)
    writer.infer(2.0, sent=150, out=30, read=100)
    writer.tool("search", 3.0, error_type="timeout")
    writer.outcome = Outcome.FAILED
    found = analysis_of(writer)
    (tool,), (model,), (command,) = found.tools, found.models, found.commands
    assert (tool.count, tool.errors, tool.total_s, tool.mean_s) == (2, 1, 4.0, 2.0)
    assert tool.critical_share == pytest.approx(0.5)
    assert (model.name, model.tokens.input, model.tokens.output) == ("m-large", 250, 50)
    assert (command.errors, command.total_s) == (1, 8.0)
    assert found.context.cache_read_share == pytest.approx(160 / 250)
    assert found.counts.failed_runs == 1
    assert {share.what: share.share for share in found.time_shares} == {"inference": 0.5, "tool": 0.5}


def test_a_persons_time_is_neither_the_tools_nor_in_the_hot_spots_whole():
    """Eight of ten seconds wait for a person: of the two that are left, the slow tool has half."""
    runs = []
    for place in range(10):
        writer = RunWriter(start_ns=MONDAY_NS + place * 60 * SECOND)
        writer.infer(1.0)
        writer.tool("slow", 1.0)
        writer.tool("AskUserQuestion", 8.0, attributes={"perfopt.waits_for_user": True})
        runs.append(writer)
    found = analysis_of(*runs)
    assert next(share.share for share in found.time_shares if share.what == "person") == pytest.approx(0.8)
    (hot,) = [finding for finding in found.findings if finding.kind == "hotspot"]
    assert hot.effect.relative.estimate == pytest.approx(0.5)
    assert [row.waiting for row in found.tools if row.name == "AskUserQuestion"] == [True]


def test_errors_cost_their_time_and_the_reply_that_read_them():
    """A failure of two seconds and the reply of one after it are lost; a person's refusal costs the reply only."""
    writer = RunWriter()
    writer.infer(1.0, sent=10, out=5)
    writer.tool("flaky", 2.0, error_type="timeout")
    writer.infer(1.0, sent=10, out=7)
    writer.tool("edit", 30.0, error_type="user_rejected", effects=ToolEffects.WRITE)
    writer.infer(1.0, sent=10, out=9)
    rows = {row.error_type: row for row in analysis_of(writer).errors}
    assert (rows["timeout"].lost_s, rows["timeout"].lost_tokens) == (3.0, 7)
    assert (rows["user_rejected"].lost_s, rows["user_rejected"].lost_tokens) == (1.0, 9)


def test_contexts_grow_by_call_number():
    """Conversations of three calls, a hundred tokens longer each time."""
    writers = []
    for place in range(10):
        writer = RunWriter(conversation=f"c{place}")
        for call in range(3):
            writer.infer(1.0, sent=1000 + 100 * call)
        writers.append(writer)
    context = analysis_of(*writers).context
    assert [point.call for point in context.growth] == [1, 2, 3]
    assert [point.p50 for point in context.growth] == pytest.approx([1000, 1100, 1200], rel=0.011)
    assert context.resend_factor == pytest.approx(3300 / 1200)
    assert context.peak_max == 1200


def test_overlap_is_reached_and_possible():
    """Two of three reads of a reply overlapped: three seconds of work in two, and one was possible."""
    writer = RunWriter()
    writer.infer(1.0)
    start = writer.now_ns
    writer.tool("a", 1.0, after_ns=start, call_id="1")
    writer.tool("b", 1.0, after_ns=start, call_id="2")
    writer.tool("c", 1.0, call_id="3")
    overlap = analysis_of(writer).parallelism
    assert (overlap.reached, overlap.possible_within_replies) == (1.5, 3.0)
    assert (overlap.replies_with_several, overlap.calls_in_several, overlap.overlapping_calls) == (1, 3, 2)


def test_the_waterfall_is_the_slowest_typical_run_and_its_path_is_the_whole_run():
    """Of a hundred runs, one of them absurdly slow, the 95th is drawn; critical stretches add up to it."""
    writers = []
    for place in range(100):
        writer = RunWriter(start_ns=MONDAY_NS + place * SECOND)
        writer.infer(1.0 + place / 100)
        start = writer.now_ns
        writer.tool("a", 1.0, after_ns=start)
        writer.tool("b", 2.0 if place < 99 else 5000.0, after_ns=start)
        writers.append(writer)
    waterfall = analysis_of(*writers).waterfall
    assert 3.6 < waterfall.duration_s < 4.1
    critical = sum(end - start for bar in waterfall.bars for start, end in bar.critical)
    assert critical == pytest.approx(waterfall.duration_s)
    assert waterfall.bars[0].kind is StepKind.COMMAND
    assert not next(bar for bar in waterfall.bars if bar.name == "a").critical


def test_next_tools_are_guessed_from_what_was_seen_before():
    """In a strict alternation of two tools every guess after the first pair is right."""
    writer = RunWriter()
    for _again in range(20):
        writer.tool("list", 0.1)
        writer.tool("open", 0.1)
    steps = analysis_of(writer).next_steps
    assert steps.tool_bigrams[0].steps == ("list", "open")
    assert steps.tool_bigrams[0].share == 1.0


def test_costs_are_list_prices_unless_stated():
    """A table of one dollar a million in and two out prices two calls; the note says whose prices these are."""
    prices = PriceTable.from_json('{"as_of": "2026-01-01", "models": {"m-large": {"input": 1, "output": 2}}}', "prices")
    writer = RunWriter()
    writer.infer(1.0, sent=1_000_000, out=500_000)
    found = analysis_of(writer, prices=prices)
    assert found.cost_usd == pytest.approx(2.0)
    assert found.models[0].cost_usd == found.commands[0].cost_usd == pytest.approx(2.0)
    assert any("2026-01-01" in note for note in found.notes)


def test_a_remedy_that_would_save_nothing_is_not_suggested():
    """Reads of a millisecond made in turn beside replies of ten seconds: the pattern is told, no policy suggested."""
    writers = []
    for place in range(20):
        writer = RunWriter(start_ns=MONDAY_NS + place * 60 * SECOND)
        writer.infer(10.0)
        for number in range(3):
            writer.tool("read", 0.001, call_id=f"{number}")
        writers.append(writer)
    (pattern,) = [item for item in analysis_of(*writers).findings if item.kind == "serial_independent"]
    assert pattern.suggestion is None
    assert "would save only" in pattern.summary


def test_notes_say_what_to_doubt():
    """Runs without a clock, few conversations and inferred durations are each said in words."""
    untimed, timed = RunWriter(conversation="a", timed=False), RunWriter(conversation="b")
    untimed.tool("t", 1.0)
    timed.tool("t", 1.0, estimated=True)
    notes = " ".join(analysis_of(untimed, timed).notes)
    assert "1 of 2 runs have no clock" in notes
    assert "only 2 conversations" in notes
    assert "1 of 1 tool calls were inferred" in notes


def finding(kind, *, saving=None, relative=None, metric="latency", suggestion=None, target=Target()):  # noqa: B008
    interval = None if saving is None else Interval(saving, saving / 2, saving * 2)
    effect = Effect(metric, "s", None if relative is None else Interval(relative, 0, 1))
    return Finding(kind, target, "A sentence.", "test", effect, saving=interval, suggestion=suggestion)


def test_findings_are_ranked_by_what_they_promise():
    """By expected value: predicted savings whole, what is only at stake in part; rates that save nothing come last."""
    order = ranked(
        with_worth(
            [
                finding("upper_bound", saving=0.8),
                finding("sequence", relative=0.99, metric="follow_rate"),
                finding("hotspot", relative=0.6),
                finding("opportunity", saving=0.1),
                finding("opportunity", saving=0.3, target=Target(tool="x")),
            ],
            Wholes({}, {}, {}),
        )
    )
    assert [item.kind for item in order] == ["opportunity", "opportunity", "hotspot", "upper_bound", "sequence"]
    assert order[0].saving.estimate == 0.3


def test_one_proposal_for_each_thing_to_do():
    """Two findings that suggest the same cache make one proposal, and each names the other as overlapping."""
    cache = Suggestion("tool_cache", {}, {"tool": ("search",)})
    target = Target(tool="search")
    order = ranked(
        [
            finding("repeated_call", relative=0.2, suggestion=cache, target=target),
            finding("opportunity", saving=0.1, suggestion=cache, target=target),
        ]
    )
    assert [item.kind for item in distinct_suggestions(order)] == ["opportunity"]
    assert order[0].overlaps == (order[1].label,)
    assert order[1].overlaps == (order[0].label,)


def test_reading_order_of_conversations_changes_no_estimate():
    """Whether conversations come first or last, every share and saving is the same."""
    runs = planted.clean_runs(np.random.default_rng(2), 20)
    forth, back = analyse(PlantedSource(runs)), analyse(PlantedSource(runs[::-1]))
    for one, other in zip(forth.tools, back.tools, strict=True):
        assert (one.name, one.count, one.p95_s, one.critical_s) == (
            other.name,
            other.count,
            other.p95_s,
            other.critical_s,
        )
    assert forth.time_shares == back.time_shares
    assert forth.context == back.context
