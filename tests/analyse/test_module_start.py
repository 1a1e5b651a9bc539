"""Starts with planted loads and uses: which modules are proposed, in which order, and what a start would save."""

from __future__ import annotations

from dataclasses import replace

import pytest
from written_runs import inference, run

from otel_perfopt import conventions as c
from otel_perfopt.analyse.module_start import ModuleStart
from otel_perfopt.analyse.opportunity import OpportunityDetector
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.proposal import propose
from otel_perfopt.execution.model import Execution, Step, StepKind, Target

SECOND = 10**9
HOUR = 3600 * SECOND


def load(name: str, trace: str, took_s: float, spared_s: float | None = None) -> Step:
    attributes = {c.MODULE_NAME: name} | ({c.MODULE_SPARED_TIME: spared_s} if spared_s else {})
    return Step(
        trace, f"{trace}-{name}", "", StepKind.MODULE_LOAD, name, Target(), HOUR, HOUR + round(took_s * SECOND),
        attributes=attributes,
    )  # fmt: skip


def start(trace: str, whole_s: float, **spared: float) -> Execution:
    """A process's start as the builder makes it: a run around the load of `__main__`."""
    main = load(c.MODULE_MAIN, trace, whole_s)
    steps = (main, *(load(name, trace, taken, taken) for name, taken in spared.items()))
    made = run(main.start_ns, main.end_ns)
    return replace(
        made,
        command=replace(made.command, trace_id=trace, span_id="", target=Target(service="shop")),
        steps=steps,
    )


def use(trace: str, name: str, after_s: float) -> Execution:
    """A command in which a module was used for the first time."""
    attributes = {c.MODULE_NAME: name, c.MODULE_START: trace, c.MODULE_USED_AFTER: after_s}
    step = Step(
        "t", f"u-{trace}-{name}", "", StepKind.OTHER, f"use {name}", Target(), HOUR, HOUR, attributes=attributes
    )
    made = run(HOUR, HOUR + SECOND)
    return replace(made, command=replace(made.command, target=Target(service="shop", command="/do")), steps=(step,))


def found_in(*executions: Execution):
    detector = ModuleStart()
    for execution in executions:
        detector.observe(execution)
    return detector.findings()


def starts(count: int, whole_s: float = 4.0, **spared: float) -> list[Execution]:
    return [start(f"trace{number}", whole_s + number / 100, **spared) for number in range(count)]


def test_what_is_never_used_waits_and_what_is_used_later_comes_in_the_order_of_use():
    """Planted: one never used, two used later in the other order than by size, one used at once by everybody."""
    runs = starts(10, never=1.0, second=0.8, first=0.4, at_once=0.5, tiny=0.001)
    for number in range(10):
        runs += [use(f"trace{number}", "at_once", 0.1)]
        runs += [use(f"trace{number}", "first", 60.0), use(f"trace{number}", "second", 300.0)] if number < 5 else []
    (finding,) = found_in(*runs)
    assert finding.kind == "late_import"
    assert finding.suggestion.parameters == {"modules": ("never", "second", "first"), "prefetch": ("first", "second")}
    assert finding.effect.metric == "start_time"
    assert finding.effect.relative.low <= 2.2 / 4.045 <= finding.effect.relative.high
    assert finding.effect.relative.high - finding.effect.relative.low < 0.05
    assert finding.effect.absolute.estimate == pytest.approx(2.2)
    assert "never (1 s, never used)" in finding.summary
    assert "first (0.4 s, used in 50 % of processes, 60 s after the start)" in finding.summary
    assert finding.occurrences == 10


def test_what_hardly_anybody_uses_is_not_loaded_ahead():
    """One process in ten used it, at once: it waits, and nobody loads it in the background."""
    (finding,) = found_in(*starts(10, rare=1.0), use("trace3", "rare", 0.01))
    assert finding.suggestion.parameters == {"modules": ("rare",)}


def test_a_use_may_be_told_before_its_start():
    """Telemetry comes in the order of ends, and a start ends late."""
    uses = [use(f"trace{number}", "module", 100.0 + number) for number in range(6)]
    (finding,) = found_in(*uses, *starts(6, module=1.0))
    assert finding.suggestion.parameters == {"modules": ("module",), "prefetch": ("module",)}


@pytest.mark.parametrize(
    "runs",
    [
        starts(4, module=2.0),
        starts(20, module=0.01),
        [*starts(10), *starts(10, module=2.0)[:3]],
        [run(HOUR, HOUR + SECOND, inference("m", HOUR, HOUR + 1))],
    ],
    ids=["too few starts", "too little of a start", "in too few starts", "no starts"],
)
def test_nothing_is_claimed_where_there_is_not_enough(runs):
    """Not enough data, or not enough to gain, is no finding."""
    assert found_in(*runs) == []


def test_the_proposal_names_the_modules_and_reads_back():
    """The policy file that follows from the finding is valid, for all commands, and asks for half of what is sure."""
    (finding,) = found_in(
        *starts(8, pandas=1.0, jinja2=1.0), use("trace1", "jinja2", 9.0), use("trace2", "jinja2", 9.0)
    )
    proposal = propose(finding, 1_795_000_000 * SECOND, [])
    assert proposal is not None
    optimize = proposal.policy.spec.optimize
    assert optimize.parameters.published() == {
        "modules": ("jinja2", "pandas"), "exclude": (), "prefetch": ("jinja2",), "prefetch_after_s": 1.0,
    }  # fmt: skip
    assert proposal.policy.spec.goal.metric == "start_time"
    assert proposal.policy.spec.rollout.unit == "process"
    assert OPTIMIZATION_TYPES["lazy_import"].process_wide


def test_a_start_is_no_command_whose_time_could_be_saved():
    """The replays of commands say nothing of starts: those have a finding of their own."""
    detector = OpportunityDetector()
    for execution in starts(30, module=2.0):
        detector.observe(execution)
    assert not [item for item in detector.opportunities() if item.optimization in {"lazy_import", "warm_up"}]
