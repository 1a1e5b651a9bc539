"""Findings of every kind compare by what acting on them is expected to save a day."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import MONDAY_NS, SECOND, PlantedSource, RunWriter

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.analysis import Counts, UsageRow
from otel_perfopt.analyse.finding import Effect, Finding, Interval
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.analyse.ranking import ranked
from otel_perfopt.analyse.worth import DAY_NS, wholes_of, with_worth, worth_of
from otel_perfopt.execution.model import Target, TokenUsage

ROWS = (
    UsageRow(Target(command="/big"), "/big", 90, 0, total_s=900.0, tokens=TokenUsage(input=100)),
    UsageRow(Target(command="/small"), "/small", 10, 0, total_s=100.0, tokens=TokenUsage(input=100)),
)
# Two days: 500 s, 1,000 tokens and 3 USD each.
WHOLES = wholes_of(Counts(run_time_s=1000.0), TokenUsage(input=1600, output=400), 6.0, (0, 2 * DAY_NS), ROWS)


def finding(kind, relative=None, *, metric="latency", command="", saving=None):
    interval = None if relative is None else Interval(relative, relative / 2, relative * 2)
    effect = Effect(metric, "s", interval)
    saved = None if saving is None else Interval(saving, saving / 2, saving * 2)
    return Finding(kind, Target(command=command), "A sentence.", "test", effect, saving=saved)


def test_a_predicted_saving_is_worth_what_it_saves_a_day():
    """A tenth of all time is 50 of 500 seconds a day, with its interval; of tokens and cost alike."""
    worth = worth_of(finding("opportunity", saving=0.1), WHOLES)
    assert (worth.per_day.estimate, worth.per_day.low, worth.unit) == (50.0, 25.0, "s")
    tokens = worth_of(finding("opportunity", saving=0.1, metric="input_tokens"), WHOLES)
    assert (tokens.per_day.estimate, tokens.unit) == (80.0, "{token}")
    assert worth_of(finding("opportunity", saving=0.1, metric="cost_usd"), WHOLES).per_day.estimate == pytest.approx(
        0.3
    )


def test_a_shift_of_one_command_is_worth_no_more_than_that_command_costs():
    """A fifth more time of a command that has a tenth of all: less than a hot spot of most of the time."""
    order = ranked(
        with_worth(
            [
                finding("change_point", 0.2, command="/small"),
                finding("season", 0.8),
                finding("trend", 0.3, command="/small"),
                finding("hotspot", 0.6),
                finding("regression", 0.2, command="/big"),
            ],
            WHOLES,
        )
    )
    assert [item.kind for item in order] == ["hotspot", "regression", "trend", "change_point", "season"]
    assert order[1].worth.share.estimate == pytest.approx(0.5 * 0.9 * 0.2 / 1.2)
    assert order[-1].worth is None


def test_what_became_better_is_worth_nothing():
    """A fall of latency or tokens needs nobody to act."""
    assert worth_of(finding("change_point", -0.3), WHOLES) is None
    assert worth_of(finding("trend", -0.01), WHOLES) is None


@given(
    st.sampled_from(sorted(FINDING_KINDS)), st.floats(-5, 5), st.sampled_from(["latency", "tokens", "errors", "rate"])
)
def test_nothing_is_worth_more_than_the_whole(kind, size, metric):
    """Whatever the finding, its share lies within its interval, between nothing and everything."""
    worth = worth_of(finding(kind, size, metric=metric, command="/big"), WHOLES)
    if worth is not None:
        assert 0 <= worth.share.low <= worth.share.estimate <= worth.share.high <= 1


def test_an_analysis_ranks_by_worth_and_says_how_much_a_day():
    """Reads that wait for one another come before the hot spot that they make, each with seconds a day."""
    runs = []
    for place in range(40):
        writer = RunWriter("/task", "", MONDAY_NS + place * 3600 * SECOND)
        writer.infer(1.0)
        for number in range(3):
            writer.tool(f"read-{number}", 1.0, call_id=f"c{number}")
        runs.append(writer.done())
    found = analyse(PlantedSource(runs)).findings
    worths = [item.worth.share.estimate for item in found if item.worth is not None]
    assert worths == sorted(worths, reverse=True)
    assert found[0].saving is not None
    assert found[0].worth.per_day.estimate == pytest.approx(
        found[0].saving.estimate * 40 * 4 / (39 + 4 / 3600) * 24, rel=0.01
    )
