"""Every detector finds what was planted, as large as it was planted, and nothing in runs where nothing was."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from planted import MONDAY_NS, SECOND, PlantedSource, RunWriter

from otel_perfopt.analyse.analyser import DETECTORS, analyse
from otel_perfopt.execution.model import ToolEffects


def runs_of(write, count=20, *, conversations=None, gap_s=3600):
    """`count` runs, each written by `write(writer, rng, place)`."""
    rng = np.random.default_rng(11)
    runs = []
    for place in range(count):
        conversation = f"conversation-{place % conversations}" if conversations else ""
        writer = RunWriter("/task", conversation, MONDAY_NS + place * gap_s * SECOND)
        write(writer, rng, place)
        runs.append(writer.done())
    return runs


def found(runs, kind, **target):
    """The findings of one kind whose target has the given fields."""
    findings = analyse(PlantedSource(runs)).findings
    return [
        finding
        for finding in findings
        if finding.kind == kind and all(getattr(finding.target, name) == value for name, value in target.items())
    ]


def the(runs, kind, **target):
    """The one finding of a kind."""
    findings = found(runs, kind, **target)
    assert len(findings) == 1, [finding.summary for finding in findings]
    return findings[0]


def holds(interval, truth):
    return interval.low <= truth <= interval.high


def test_clean_runs_yield_at_most_five_per_cent_of_reports_with_a_finding():
    """Forty reports over runs with nothing planted: two or fewer claim anything."""
    reports = [analyse(PlantedSource(planted.clean_runs(np.random.default_rng(seed), 30))) for seed in range(40)]
    claims = [[finding.summary for finding in report.findings] for report in reports]
    assert sum(bool(claim) for claim in claims) <= 2, [claim for claim in claims if claim]


def test_a_bottleneck_is_found_with_its_share_of_the_time():
    """A tool that takes 6 of every 10 seconds is a hot spot of 60 %, and twice as fast would save 30 %."""

    def write(writer, rng, _):
        writer.infer(2.0)
        writer.tool("slow_tool", 6.0 * rng.lognormal(0, 0.1))
        writer.infer(1.0)
        writer.tool("fast_tool", 1.0)

    finding = the(runs_of(write), "hotspot", tool="slow_tool")
    assert holds(finding.effect.relative, 0.6)
    assert "it would save 30 %" in finding.summary
    assert len(finding.evidence) == 5
    assert not found(runs_of(write), "hotspot", tool="fast_tool")


def test_a_tool_hidden_behind_a_longer_one_is_no_bottleneck():
    """What runs beside something longer is not waited for, however long it is."""

    def write(writer, *_):
        writer.infer(1.0)
        start = writer.now_ns
        writer.tool("longer", 5.0, after_ns=start)
        writer.tool("hidden", 4.0, after_ns=start)

    runs = runs_of(write)
    assert found(runs, "hotspot", tool="longer")
    assert not found(runs, "hotspot", tool="hidden")


def test_a_wait_for_a_person_is_said_to_be_one():
    """A question to the user is no hot spot of the tool that asks it."""

    def write(writer, *_):
        writer.infer(2.0)
        writer.tool("AskUserQuestion", 8.0, attributes={"perfopt.waits_for_user": True})

    runs = runs_of(write)
    assert not found(runs, "hotspot", tool="AskUserQuestion")
    assert holds(the(runs, "person_wait").effect.relative, 0.8)


def test_time_in_which_no_step_ran_is_the_agents_own():
    """Half of each run passes with no step running."""

    def write(writer, *_):
        writer.infer(2.0)
        writer.now_ns += 2 * SECOND

    finding = the(runs_of(write), "hotspot")
    assert "no step was running" in finding.summary
    assert holds(finding.effect.relative, 0.5)


def test_repeats_are_found_and_priced():
    """A read repeated in every run takes a quarter of the time, and a cache would save just that."""

    def write(writer, *_):
        writer.infer(1.0)
        writer.tool("search", 1.0, arguments="same")
        writer.infer(1.0)
        writer.tool("search", 1.0, arguments="same")

    runs = runs_of(write)
    pattern = the(runs, "repeated_call", tool="search")
    assert holds(pattern.effect.relative, 0.25)
    opportunity = the(runs, "opportunity", tool="search")
    assert opportunity.suggestion.optimization == "tool_cache"
    assert holds(opportunity.saving, 0.25)
    assert opportunity.label in pattern.overlaps
    assert pattern.saving == opportunity.saving


def test_repeats_across_the_runs_of_a_conversation_are_found():
    """The second command of a conversation asks what the first had asked a minute before."""

    def write(writer, *_):
        writer.infer(1.0)
        writer.tool("search", 1.0, arguments="same")

    runs = runs_of(write, conversations=10, gap_s=6)
    assert holds(the(runs, "opportunity", tool="search").saving, 0.25)


@pytest.mark.parametrize("between", [ToolEffects.WRITE, ToolEffects.UNKNOWN])
def test_no_cache_is_suggested_across_a_write(between):
    """What may have been written in between makes the repeat a new question."""

    def write(writer, *_):
        writer.infer(1.0)
        writer.tool("search", 1.0, arguments="same")
        writer.tool("save", 1.0, effects=between)
        writer.tool("search", 1.0, arguments="same")

    assert not found(runs_of(write), "repeated_call")
    assert not found(runs_of(write), "opportunity", tool="search")


@pytest.mark.parametrize("effects", [ToolEffects.WRITE, ToolEffects.UNKNOWN])
def test_no_cache_is_suggested_for_a_tool_that_may_write(effects):
    """Whatever repeats, a tool that writes (or might) is never to be cached, preloaded or made parallel."""

    def write(writer, *_):
        for _again in range(4):
            writer.infer(0.1)
            writer.tool("pay", 1.0, arguments="same", effects=effects)

    findings = analyse(PlantedSource(runs_of(write))).findings
    assert all(finding.suggestion is None for finding in findings if finding.target.tool == "pay")
    assert not [finding for finding in findings if finding.kind in {"opportunity", "repeated_call"}]


def test_repeats_after_the_time_to_live_are_not_counted():
    """Ten minutes later, the same question deserves a new answer."""

    def write(writer, *_):
        writer.tool("search", 1.0, arguments="same")
        writer.now_ns += 600 * SECOND
        writer.tool("search", 1.0, arguments="same")

    assert not found(runs_of(write), "repeated_call")


def test_a_read_whose_answer_changes_gets_no_cache():
    """A clock is read-only and repeats, but its answers differ: it is reported, and nothing suggested."""

    def write(writer, _, place):
        writer.infer(1.0)
        for moment in range(3):
            writer.tool("now", 1.0, arguments="same", result=f"{place}:{moment}")

    finding = the(runs_of(write), "repeated_call", tool="now")
    assert finding.suggestion is None
    assert "had changed all the same" in finding.summary
    assert not found(runs_of(write), "opportunity", tool="now")


def test_reads_of_one_reply_made_in_turn_are_found_and_priced():
    """Three reads of one reply, a second each after a second of thought: together they would save half of the run."""

    def write(writer, *_):
        writer.infer(1.0)
        for number in range(3):
            writer.tool(f"read_{number}", 1.0, call_id=f"call-{number}")

    runs = runs_of(write)
    pattern = the(runs, "serial_independent", command="/task")
    opportunity = the(runs, "opportunity", command="/task")
    assert pattern.suggestion.optimization == opportunity.suggestion.optimization == "parallel_tools"
    assert holds(opportunity.saving, 0.5)
    assert opportunity.saving.estimate == pytest.approx(0.5)


def test_reads_already_together_are_left_alone():
    """Calls that overlapped in the recording have nothing to gain."""

    def write(writer, *_):
        writer.infer(1.0)
        start = writer.now_ns
        for number in range(3):
            writer.tool(f"read_{number}", 1.0, call_id=f"call-{number}", after_ns=start)

    assert not found(runs_of(write), "serial_independent")
    assert not found(runs_of(write), "opportunity")


def test_a_write_between_reads_is_a_barrier():
    """Reads either side of a write are not made to run together."""

    def write(writer, *_):
        writer.infer(1.0)
        writer.tool("read_a", 1.0, call_id="a")
        writer.tool("save", 1.0, call_id="b", effects=ToolEffects.WRITE)
        writer.tool("read_b", 1.0, call_id="c")

    assert not found(runs_of(write), "serial_independent")
    assert not found(runs_of(write), "opportunity")


def test_independent_reads_of_different_replies_are_a_bound():
    """The second read uses nothing of the first: at best it would have run beside it, and that is said to be a bound."""

    def write(writer, *_):
        for number in range(3):
            writer.infer(1.0)
            writer.tool(f"read_{number}", 1.0)

    runs = runs_of(write)
    assert the(runs, "independent_reads", command="/task").effect.relative.estimate == pytest.approx(1.0)
    bound = the(runs, "upper_bound", command="/task")
    assert bound.saving.estimate == pytest.approx(2 / 6)
    (ranked,) = [item for item in analyse(PlantedSource(runs)).findings if item.kind == "upper_bound"]
    assert ranked.worth.share.estimate == pytest.approx(bound.saving.estimate / 10)
    assert ranked.worth.share.low == 0


def test_dependent_reads_are_not_called_independent():
    """Each read takes a value that the one before it returned."""

    def write(writer, _, place):
        value = f"start-{place}"
        for number in range(3):
            writer.infer(1.0)
            writer.tool(f"read_{number}", 1.0, needs=(value,), gives=(f"{place}-{number}",))
            value = f"{place}-{number}"

    assert not found(runs_of(write), "independent_reads")
    assert not found(runs_of(write), "upper_bound")


def test_a_streak_of_one_tool_is_found():
    """Seven look-ups in a row, each for another row."""

    def write(writer, *_):
        writer.infer(1.0)
        for _number in range(7):
            writer.tool("fetch_row", 0.2)

    finding = the(runs_of(write), "n_plus_one", tool="fetch_row")
    assert finding.suggestion.optimization == "batch_tools"
    assert finding.occurrences == 20


def test_context_sent_again_is_found_unless_a_cache_answers():
    """Of 1,000, 2,000 and 3,000 tokens half had been sent before; with cache reads nothing is said."""

    def write(writer, *_, cached=False):
        for number in range(3):
            sent = 1000 * (number + 1)
            writer.infer(1.0, sent=sent, out=50, read=1000 * number if cached else None)

    finding = the(runs_of(write), "resent_context", command="/task")
    assert finding.effect.relative.estimate == pytest.approx(0.5)
    assert not found(runs_of(lambda *rest: write(*rest, cached=True)), "resent_context")


def test_a_large_opening_is_found():
    """Ten thousand tokens open every run of two calls, which add a hundred."""

    def write(writer, *_):
        writer.infer(1.0, sent=10_000, out=50)
        writer.infer(1.0, sent=10_100, out=50)

    finding = the(runs_of(write), "whole_context", command="/task")
    assert finding.suggestion.optimization == "selective_context"
    assert finding.effect.relative.estimate == pytest.approx(20_000 / 20_100)


def test_what_was_said_before_is_no_opening():
    """The second command of a conversation starts with its history: only what the first one loaded is an opening."""
    runs = []
    for place in range(20):
        for number, sent in enumerate((1000, 9000, 17_000)):
            writer = RunWriter("/task", f"c{place}", MONDAY_NS + (3 * place + number) * 60 * SECOND)
            for call in range(3):
                writer.infer(1.0, sent=sent + 100 * call, out=50, read=sent)
            runs.append(writer.done())
    assert not found(runs, "whole_context")


def test_a_prompt_that_breaks_the_cache_is_found():
    """The third call reads nothing from the cache although the second had sent 8,000 tokens just before."""

    def write(writer, *_):
        writer.infer(1.0, sent=8000, read=0, write=8000)
        writer.infer(1.0, sent=8500, read=8000, write=500)
        writer.infer(1.0, sent=9000, read=0, write=9000)

    finding = the(runs_of(write), "cache_break", command="/task")
    assert finding.occurrences == 20
    assert finding.effect.relative.estimate == pytest.approx(8500 / 25_500)


def test_an_expired_cache_is_not_blamed_on_the_prompt():
    """Ten minutes of pause explain the miss."""

    def write(writer, *_):
        writer.infer(1.0, sent=8000, read=0, write=8000)
        writer.infer(1.0, sent=8500, read=8000, write=500)
        writer.now_ns += 600 * SECOND
        writer.infer(1.0, sent=9000, read=0, write=9000)

    assert not found(runs_of(write), "cache_break")


def test_a_full_window_is_found():
    """Calls of 170 k tokens press a window of 200 k."""

    def write(writer, *_):
        writer.infer(1.0, sent=100_000, window=200_000)
        writer.infer(1.0, sent=170_000, window=200_000)

    finding = the(runs_of(write), "context_pressure", model="m-large")
    assert finding.effect.relative.estimate == pytest.approx(0.5)


def test_thinking_is_found_by_time_and_by_tokens():
    """Three of five seconds are thought, and four of five output tokens are reasoning."""

    def write(writer, *_):
        writer.think(3.0)
        writer.infer(2.0, sent=500, out=100, reasoning=80)

    by_metric = {finding.effect.metric: finding for finding in found(runs_of(write), "over_thinking")}
    assert by_metric["latency"].effect.relative.estimate == pytest.approx(0.6)
    assert by_metric["output_tokens"].effect.relative.estimate == pytest.approx(0.8)


def test_errors_and_retry_storms_are_found_with_their_cost():
    """A tool that fails three times before it works: three seconds of nine lost, and a storm in every run."""

    def write(writer, *_):
        writer.infer(3.0)
        for attempt in range(4):
            writer.tool("flaky", 1.0, error_type="timeout" if attempt < 3 else None)
        writer.now_ns += 2 * SECOND

    runs = runs_of(write)
    assert holds(the(runs, "errors", tool="flaky").effect.relative, 3 / 9)
    storm = the(runs, "retry_storm", tool="flaky")
    assert storm.occurrences == 20


def test_a_person_who_refuses_is_no_error_of_the_tool():
    """A refused call is neither counted as failing nor as time lost."""

    def write(writer, *_):
        writer.infer(1.0)
        writer.tool("edit", 30.0, error_type="user_rejected", effects=ToolEffects.WRITE)

    assert not found(runs_of(write), "errors")
    assert found(runs_of(write), "person_wait")


def test_a_command_that_follows_another_is_found():
    """Every /query is followed by a /task of the same conversation."""
    runs = []
    for place in range(30):
        for number, command in enumerate(("/query", "/task", "/other")):
            start = MONDAY_NS + (place * 3 + number) * 60 * SECOND
            writer = RunWriter(command, f"conversation-{place}", start)
            writer.infer(1.0)
            runs.append(writer.done())
    finding = the(runs, "command_sequence", command="/task")
    assert finding.effect.relative.estimate == pytest.approx(1.0)
    assert finding.suggestion.optimization == "preload"
    assert finding.suggestion.parameters == {"after": "/query"}


def test_a_tool_that_follows_another_is_found_only_if_it_reads():
    """`open` follows `list` every time and only reads; `save` follows `open` every time and is left alone."""

    def write(writer, *_):
        for _again in range(2):
            for name in ("list", "open", "save", "think"):
                writer.infer(0.5)
                effects = ToolEffects.WRITE if name == "save" else ToolEffects.READ
                writer.tool(name, 0.5, effects=effects)

    runs = runs_of(write)
    assert the(runs, "tool_sequence", tool="open").suggestion.match == {"tool": ("open",)}
    assert not found(runs, "tool_sequence", tool="save")


def test_every_detector_keeps_quiet_without_data():
    """No runs, one run, runs without a clock: no finding, no exception, no number out of nothing."""
    for make in DETECTORS:
        assert list(make(0).findings()) == []
    empty = analyse(PlantedSource([]))
    assert empty.findings == ()
    assert empty.counts.runs == 0
    assert empty.window_ns is None
    assert empty.parallelism.reached is None
    one = analyse(PlantedSource([planted.clean_run(np.random.default_rng(0))]))
    assert one.findings == ()


def test_runs_without_a_clock_count_but_say_nothing_about_time():
    """Calls, tokens and repeats of an untimed run stand; durations, shares and savings are absent."""
    runs = []
    for place in range(20):
        writer = RunWriter("/task", timed=False, start_ns=place)
        for _again in range(2):
            writer.infer(0.0, sent=100, out=10)
            writer.tool("search", 0.0, arguments="same")
        runs.append(writer.done())
    analysis = analyse(PlantedSource(runs))
    assert analysis.counts.tool_calls == 40
    assert analysis.counts.run_time_s is None
    assert analysis.tools[0].p50_s is None
    assert analysis.repetition.safe_repeats == 20
    assert analysis.opportunities == ()
    assert [finding.kind for finding in analysis.findings if finding.kind == "repeated_call"]
    assert all(finding.saving is None for finding in analysis.findings)


def test_the_same_input_and_seed_give_the_same_analysis():
    """Two passes agree in every number, and another seed moves only the intervals."""
    runs = planted.clean_runs(np.random.default_rng(5), 20)
    assert analyse(PlantedSource(runs), seed=3) == analyse(PlantedSource(runs), seed=3)


def test_a_cache_that_would_lie_now_and_then_is_not_offered():
    """One in ten repeats has another answer, since others write too: the pattern is told, the cache is not offered."""

    def write(writer, _, place):
        writer.infer(1.0)
        writer.tool("get_customer", 1.0, arguments="same", result="old")
        writer.infer(1.0)
        writer.tool("get_customer", 1.0, arguments="same", result="new" if place % 10 == 0 else "old")

    analysis = analyse(PlantedSource(runs_of(write, 40)))
    assert "tool_cache" not in [item.optimization for item in analysis.opportunities]
    (pattern,) = [finding for finding in analysis.findings if finding.kind == "repeated_call"]
    assert pattern.suggestion is None
    assert "4 of 40 results had changed" in pattern.summary


def test_nothing_is_prepared_ahead_of_a_write_or_within_a_reply():
    """A read after a write, and calls that one reply asked for together, are no sequences to foresee."""

    def write(writer, *_):
        writer.infer(0.5)
        writer.tool("save", 0.5, effects=ToolEffects.WRITE)
        writer.infer(0.5)
        writer.tool("show", 0.5, call_id="a")
        writer.tool("count", 0.5, call_id="b")

    assert not found(runs_of(write), "tool_sequence")


def test_savings_of_two_optimizations_on_the_same_calls_name_each_other():
    """Repeats within one reply could be cached or made parallel: both opportunities say that they overlap."""

    def write(writer, *_):
        writer.infer(1.0)
        writer.tool("search", 1.0, arguments="same", call_id="a")
        writer.tool("search", 1.0, arguments="same", call_id="b")

    runs = runs_of(write)
    cache, parallel = the(runs, "opportunity", tool="search"), the(runs, "opportunity", command="/task", tool="")
    assert cache.label in parallel.overlaps
    assert parallel.label in cache.overlaps


def test_no_saving_exceeds_its_bound():
    """Whatever the gaps between calls, the best conceivable of a kind saves at least what the replay saves."""

    def write(writer, rng, _):
        writer.infer(1.0)
        for number in range(4):
            writer.tool("search", rng.lognormal(0, 1), arguments=f"{rng.integers(2)}", call_id=f"{number}")
            writer.now_ns += int(rng.integers(SECOND))

    for item in analyse(PlantedSource(runs_of(write, 40))).opportunities:
        assert item.share.estimate <= item.bound_share + 1e-9, item


def test_a_season_and_a_shift_in_the_runs_become_findings():
    """Three weeks of hourly runs, slower at noon and slower for good from the third week on."""
    runs = []
    rng = np.random.default_rng(8)
    for hour in range(504):
        writer = RunWriter("/task", start_ns=MONDAY_NS + hour * 3600 * SECOND)
        slow = 1 + 0.5 * np.sin(2 * np.pi * (hour - 6) / 24) + 1.0 * (hour >= 336)
        writer.infer(10 * slow * rng.lognormal(0, 0.1))
        runs.append(writer.done())
    found = analyse(PlantedSource(runs)).findings
    # Runs that last longer are also more at once.
    assert {finding.effect.metric for finding in found if finding.kind == "season"} <= {"latency", "concurrency"}
    findings = {finding.kind: finding for finding in found if finding.effect.metric == "latency"}
    assert "daily rhythm" in findings["season"].summary
    assert "rose for good at 2026-09-21 0" in findings["change_point"].summary
    assert "trend" not in findings


def test_clean_histories_yield_at_most_five_per_cent_of_reports_with_a_finding():
    """Twenty reports over two weeks of clean runs each, histories included: two or fewer claim anything."""
    claims = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        runs = [planted.clean_run(rng, start_ns=MONDAY_NS + hour * 3600 * SECOND, replies=2) for hour in range(336)]
        claims.append([finding.summary for finding in analyse(PlantedSource(runs)).findings])
    assert sum(bool(claim) for claim in claims) <= 2, [claim for claim in claims if claim]
