"""Roll-ups: every metric of runs worked out by hand, merging, and bounded cardinality."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_runs import inference, read, run, step

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import Outcome, StepKind, Target, TokenUsage
from otel_perfopt.measure import metric as m
from otel_perfopt.measure.price import PriceBand, PriceTable
from otel_perfopt.measure.rollup import OVERFLOW, Rollup

S = 10**9
MODEL = Target(command="/do", model="model-a")
TOOL = Target(command="/do", tool="look")


def one_run():
    """10 s: 4 s of model call (1 s of it thinking), 1 s own code, 3 s tool that failed, 2 s own code."""
    return run(
        0, 10 * S,
        inference("m", 0, 4 * S, target=MODEL, tokens=TokenUsage(100, 20, 60, 10, 8, 50)),
        step("k", 1 * S, 2 * S, parent="m", kind=StepKind.THINKING, name="thinking"),
        read("t", 5 * S, 8 * S, target=TOOL, error_type="E", cost_usd=0.5),
        outcome=Outcome.FAILED,
    )  # fmt: skip


def rolled(*runs, **fields):
    rollup = Rollup(**fields)
    for execution in runs:
        rollup.add(execution)
    return rollup


def test_every_metric_of_a_run_worked_out_by_hand():
    """Times, tokens, errors and cost stand where they belong, once each."""
    rollup = rolled(one_run())
    kind, command = StepKind.COMMAND, Target(command="/do")
    totals = {name: rollup.total(name, kind) for name in m.UNITS}
    assert totals == {
        m.DURATION: 10, m.SELF_TIME: 3, m.CRITICAL_PATH: 3, m.THINKING_TIME: 1, m.COST: 0.5, m.ERRORS: 1,
        m.TOOL_CALLS: 1, m.MODEL_CALLS: 1, m.TOKENS_INPUT: 100, m.TOKENS_OUTPUT: 20, m.TOKENS_CACHE_READ: 60,
        m.TOKENS_CACHE_WRITE: 10, m.TOKENS_REASONING: 8, m.TOKENS_RESENT: 50, m.INPUT_WITH_CACHE_READ: 100,
        m.INPUT_WITH_RESENT: 100, m.OUTPUT_WITH_REASONING: 20,
    }  # fmt: skip
    assert rollup.measurement(m.SELF_TIME, MODEL, StepKind.INFERENCE).total == 3
    assert rollup.measurement(m.CRITICAL_PATH, TOOL, StepKind.TOOL).total == 3
    assert rollup.measurement(m.ERRORS, TOOL, StepKind.TOOL).mean == 1
    assert rollup.measurement(m.DURATION, command, kind).count == 1
    assert rollup.measurement(m.TOKENS_INPUT, TOOL, StepKind.TOOL) is None


def test_shares_are_ratios_of_sums():
    """Shares weigh runs by their size, and only what states the part counts towards the whole."""
    silent = run(0, 10 * S, inference("m", 0, 10 * S, target=MODEL, tokens=TokenUsage(900, 1)))
    rollup = rolled(one_run(), silent)
    assert rollup.thinking_share() == pytest.approx(1 / 20)
    assert rollup.cache_read_share(model="model-a") == pytest.approx(0.6)
    assert rollup.resent_share() == pytest.approx(0.5)
    assert rollup.reasoning_share() == pytest.approx(0.4)
    assert rollup.critical_share(StepKind.TOOL, tool="look") == pytest.approx(3 / 20)
    assert rollup.critical_share(StepKind.INFERENCE, command="/do") == pytest.approx(13 / 20)
    assert rollup.cache_read_share(model="model-z") is None
    assert Rollup().thinking_share() is None


def test_without_a_clock_there_are_counts_and_no_times():
    """Runs without a clock add tokens and errors, never durations."""
    rollup = rolled(replace(one_run(), timed=False))
    assert rollup.total(m.DURATION, StepKind.COMMAND) is None
    assert rollup.total(m.TOKENS_INPUT, StepKind.COMMAND) == 100


def test_prices_apply_where_no_cost_is_stated():
    """The model call is priced, the tool's stated cost stands, and the run is their sum."""
    prices = PriceTable({"model-a": (PriceBand(1.0, 1.0, 1.0, 1.0),)})
    rollup = rolled(one_run(), prices=prices)
    assert rollup.total(m.COST, StepKind.INFERENCE) == pytest.approx(120e-6)
    assert rollup.total(m.COST, StepKind.COMMAND) == pytest.approx(0.5 + 120e-6)


def test_grouping_adds_over_the_other_fields():
    """The same tool of two commands is one row by tool and two by command."""
    other = run(0, 10 * S, read("t", 0, S, target=Target(command="/other", tool="look")))
    rollup = rolled(one_run(), other)
    assert {k: v.count for k, v in rollup.by("tool", m.DURATION, StepKind.TOOL).items()} == {"look": 2}
    assert {k: v.count for k, v in rollup.by("command", m.DURATION, StepKind.TOOL).items()} == {"/do": 1, "/other": 1}


def test_a_command_inside_a_run_is_no_run():
    """Runs are counted once, whatever runs inside them."""
    rollup = rolled(run(0, 10 * S, step("n", S, 4 * S, kind=StepKind.COMMAND, target=Target(command="/do"))))
    assert rollup.total(m.DURATION, StepKind.COMMAND) == 10
    assert rollup.total(m.DURATION, StepKind.OTHER) == 3


def random_runs():
    durations = st.tuples(st.integers(0, 20), st.integers(0, 5), st.sampled_from("xyz"))
    return st.lists(
        durations.map(
            lambda d: run(0, d[0] * S, read("t", 0, d[1] * S, target=Target(command="/do", tool=d[2])))
        ),
        max_size=6,
    )  # fmt: skip


@given(random_runs(), random_runs())
@settings(max_examples=60, deadline=None)
def test_merging_is_adding(left, right):
    """Two roll-ups merged are the roll-up of all runs."""
    merged = rolled(*left)
    merged.merge(rolled(*right))
    whole = rolled(*left, *right)
    assert merged.runs == whole.runs
    assert {key: (v.count, v.total) for key, v in merged.items()} == {
        key: (v.count, v.total) for key, v in whole.items()
    }


def test_targets_are_bounded_and_totals_stay_true():
    """Past the limit new targets share one, also when merging."""
    runs = [run(0, S, read("t", 0, S, target=Target(tool=f"tool{i}"))) for i in range(50)]
    small = rolled(*runs, max_targets=10)
    assert len({target for (_, target, _), _ in small.items()}) == 11
    assert small.total(m.DURATION, StepKind.TOOL) == 50
    assert small.measurement(m.DURATION, OVERFLOW, StepKind.TOOL).count == 41
    assert small.by("tool", m.DURATION, StepKind.TOOL)[c.METRIC_OVERFLOW].count == 41
    merged = Rollup(max_targets=5)
    merged.merge(small)
    assert merged.total(m.DURATION, StepKind.TOOL) == 50
    assert len({target for (_, target, _), _ in merged.items()}) == 6
