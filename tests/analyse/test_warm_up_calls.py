"""Planted cold starts are found with their size, noise is none, and the calls worth having ready are named."""

from __future__ import annotations

import random
from dataclasses import replace

from written_runs import run

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analyser import Analyser
from otel_perfopt.analyse.finding import Effect, Finding, Suggestion
from otel_perfopt.analyse.warm_up_calls import WarmUpCalls, with_warm_calls
from otel_perfopt.execution.model import Step, StepKind, Target, ToolEffects
from otel_perfopt.signal.digest import content_digest
from otel_perfopt.signal.source import ReadTally

SECOND = 10**9
MINUTE = 60 * SECOND
SLOWER = 3.0
USUAL_S = 0.1


def call(name, start_ns, took_s, arguments, number, *, result="r", **changes):
    made = Step(
        f"t{number}", f"s{number}-{name}-{start_ns}", "", StepKind.TOOL, name, Target(service="shop"), start_ns,
        start_ns + round(took_s * SECOND), effects=ToolEffects.READ, arguments_digest=content_digest(arguments),
        result_digest=result,
    )  # fmt: skip
    return replace(made, **changes)


def of(number, start_ns, *steps, starting=False):
    made = run(start_ns, max(step.end_ns for step in steps) + 1, *steps)
    stated = {c.PROCESS_START_TIME: 1.0} if starting else {}
    command = replace(
        made.command, trace_id=f"t{number}", target=Target(service="shop", command="/do"), attributes=stated
    )
    return replace(made, command=command, conversation_id=f"c{number}")


def days(seed, slower, *, runs=60, **changes):
    """Runs of three calls each; every fifth comes after twenty quiet minutes, and its first call is slower."""
    draw = random.Random(seed)
    now = 1_788_739_200 * SECOND
    for number in range(runs):
        quiet = number % 5 == 0
        now += (20 if quiet else 1) * MINUTE
        steps = []
        for place in range(3):
            took = USUAL_S * draw.lognormvariate(0, 0.4) * (slower if quiet and place == 0 else 1.0)
            query = {"city": "Ulm" if draw.random() < 0.6 else f"city{number}-{place}"}
            steps.append(call("search", now + place * SECOND, took, query, number, **changes))
        yield of(number, now, *steps)


def detected(runs):
    detector = WarmUpCalls()
    for one in runs:
        detector.observe(one)
    return detector


def asked_at(runs, named):
    """The digest of what was asked at the place that a call is named by."""
    place = named["recorded"]["trace_id"], named["recorded"]["span_id"]
    return next(step.arguments_digest for one in runs for step in one.steps if (step.trace_id, step.span_id) == place)


def test_a_planted_cold_start_is_found_with_its_size_and_the_call_that_warms():
    """Three times slower: two thirds of the first call is saved; over twenty seeds the interval nearly always holds it."""
    held = found = 0
    for seed in range(20):
        findings = detected(days(seed, SLOWER)).findings()
        found += len(findings)
        for finding in findings:
            held += finding.effect.relative.low <= 1 - 1 / SLOWER <= finding.effect.relative.high
    assert found >= 19
    assert held >= found - 3
    (finding,) = detected(days(1, SLOWER)).findings()
    assert (finding.kind, finding.target.tool) == ("cold_start", "search")
    (named,) = finding.suggestion.parameters["calls"]
    assert (named["tool"], finding.suggestion.parameters["discard"]) == ("search", True)
    assert asked_at(days(1, SLOWER), named) == content_digest({"city": "Ulm"})
    assert 0.1 < finding.effect.absolute.estimate < 0.4
    assert finding.evidence


def test_noise_is_no_cold_start():
    """Forty seeds without any difference: not one is claimed."""
    assert [seed for seed in range(40) if detected(days(seed, 1.0)).findings()] == []


def test_the_first_call_of_a_process_is_cold():
    """Calls in a process's first command, of which others follow at once, are told apart without any silence."""
    draw = random.Random(3)
    now = 1_788_739_200 * SECOND
    runs = []
    for number in range(60):
        now += MINUTE
        starting = number % 4 == 0
        took = USUAL_S * draw.lognormvariate(0, 0.3)
        first = call("load", now, took * (4.0 if starting else 1.0), {}, number)
        runs.append(of(number, now, first, call("load", now + 2 * SECOND, took, {}, number), starting=starting))
    (finding,) = detected(runs).findings()
    assert finding.effect.relative.low <= 0.75 <= finding.effect.relative.high
    assert finding.suggestion.parameters["calls"] == ({"tool": "load", "arguments": {}},), (
        "no arguments need no reading"
    )


def test_what_is_unknown_or_may_write_is_not_proposed():
    """Writes and failures are not looked at, nor what is not often enough cold."""
    assert detected(days(1, SLOWER, effects=ToolEffects.WRITE)).findings() == []
    assert detected(days(1, SLOWER, error_type="E")).findings() == []
    assert detected(days(1, SLOWER, runs=30)).findings() == [], "six cold calls are too few"


def test_reads_of_many_conversations_are_ready_before_a_peak():
    """A peak's warm-up, which names nothing itself, is given the calls; those whose answers differ are left out."""
    runs = list(days(5, 1.0))
    for number in range(20):
        now = runs[-1].command.end_ns + (number + 1) * MINUTE
        steps = (
            call("menu", now, 0.2, {"day": "today"}, 100 + number),
            call("clock", now + SECOND, 0.9, {"zone": "UTC"}, 100 + number, result=f"r{number}"),
        )
        runs.append(of(100 + number, now, *steps))
    detector = detected(runs)
    calls = detector.calls()
    assert [call["tool"] for call in calls] == ["search", "menu"]
    assert [asked_at(runs, call) for call in calls] == [
        content_digest(one) for one in ({"city": "Ulm"}, {"day": "today"})
    ]
    when = {"finding": "seasonal_peak", "metric": "load", "ahead": "30m"}
    peak = Finding(
        "seasonal_peak", Target(), "", "history", Effect("load", ""), suggestion=Suggestion("warm_up", when=when)
    )
    other = replace(peak, suggestion=Suggestion("adaptive_concurrency", when=when))
    warmed, left = with_warm_calls([peak, other], [detector])
    assert left is other
    assert warmed.suggestion.parameters == {"calls": calls, "discard": True, "every": "1m"}
    assert warmed.suggestion.when == {**when, "ahead": "5m"}
    assert with_warm_calls([peak], [WarmUpCalls()]) == [peak]


def test_the_whole_analysis_tells_it():
    """The detector is in the table, and what it mined fills the proposal of what replaying foretells."""
    analyser = Analyser()
    for one in days(1, SLOWER, runs=120):
        analyser.observe(one)
    findings = analyser.result(ReadTally()).findings
    (cold,) = [one for one in findings if one.kind == "cold_start"]
    assert cold.suggestion.parameters["calls"]
    foretold = [one for one in findings if one.kind == "opportunity" and one.suggestion.optimization == "warm_up"]
    assert foretold
    assert all(one.suggestion.parameters["calls"] for one in foretold)
