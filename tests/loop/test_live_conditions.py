"""Policies that sleep until a bottleneck is there: measured on a live window, with hysteresis, through the controller."""

from __future__ import annotations

from dataclasses import replace

import pytest
from adaptive_fleet import AdaptiveFleet
from simulated_fleet import SECOND, START_NS

from otel_perfopt.decide.live import Live
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_file import LoadedPolicy
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.state import PolicyState, State
from otel_perfopt.execution.model import Assignment, Execution, Outcome, Step, StepKind, Target, TokenUsage
from otel_perfopt.loop.controller import Controller
from otel_perfopt.loop.live_watch import LiveWatch
from otel_perfopt.loop.live_window import LiveWindow

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: remedy, author: somebody}
spec:
  when:
    live: {measure: tool_latency_p95, tool: search, above: 2s, offBelow: 1.5s, for: 30s, offFor: 30s, over: 1m}
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
    limits: {minUnits: 100, maxUnits: 4000, maxDuration: 1h}
  goal: {metric: latency, improve: 5%}
  guardrails: [{metric: task_failure, maxIncrease: 10pp}]
"""


def step(kind, name, seconds, *, end_s=0.0, **changes):
    end_ns = START_NS + int(end_s * SECOND)
    made = Step("t", "s", "", kind, name, Target(), end_ns - int(seconds * SECOND), end_ns)
    return replace(made, **changes)


def run(*steps, end_s=0.0, command="/task", arms=None, outcome=Outcome.COMPLETED):
    whole = step(StepKind.COMMAND, command, 1.0, end_s=end_s)
    return Execution(whole, steps, "c", outcome=outcome, arms=arms or {})


def live(measure="tool_latency_p95", above="2s", **more):
    return Live.model_validate({"measure": measure, "above": above, "minCalls": 5, **more})


def window(*runs):
    made = LiveWindow()
    made.wanted = True
    for one in runs:
        made.observe(one)
    return made


def test_each_measure_has_the_value_that_was_planted():
    """Ten runs with known times, refusals, waits and context give exactly the known value of every measure."""
    runs = []
    for number in range(10):
        tool = step(StepKind.TOOL, "search", 1.0 + number, error_type="E" if number == 0 else None)
        attributes = {"perfopt.queue.time": float(number), "perfopt.context.window_tokens": 1000}
        model = step(
            StepKind.INFERENCE,
            "m",
            2.0 * (1 + number),
            attributes=attributes,
            tokens=TokenUsage(input=100 * number),
            error_type="RateLimitError" if number < 2 else None,
        )
        outcome = Outcome.FAILED if number < 3 else Outcome.COMPLETED
        runs.append(run(tool, model, outcome=outcome))
    seen = window(*runs)
    wanted = {
        "tool_latency_p95": ("1s", 10.0),
        "model_latency_p95": ("1s", 20.0),
        "command_latency_p95": ("1s", 1.0),
        "queue": ("1s", 9.0),
        "rate_limited_share": ("1%", 0.2),
        "tool_failure_share": ("1%", 0.1),
        "failure_share": ("1%", 0.3),
        "context_use": ("1%", 0.9),
        "load": ("1/min", 5.0),
    }
    found = {name: seen.reading(live(name, above), START_NS).value for name, (above, _) in wanted.items()}
    assert found == {name: pytest.approx(value) for name, (_, value) in wanted.items()}


def test_only_calls_that_are_meant_and_recent_count():
    """Other tools, other commands, older calls and runs that the policy treats stay out; too few are no value."""
    treated = {"p": Assignment("treatment", "d", "active", 0.95)}
    slow = [run(step(StepKind.TOOL, "search", 9.0)) for _ in range(5)]
    others = [
        run(step(StepKind.TOOL, "other", 1.0)),
        run(step(StepKind.TOOL, "search", 1.0, end_s=-500.0)),
        run(step(StepKind.TOOL, "search", 1.0), command="/else"),
        run(step(StepKind.TOOL, "search", 1.0), arms=treated),
        run(step(StepKind.TOOL, "search", 1.0, attributes={"perfopt.cache.hit": True})),
    ]
    seen = window(*others, *slow)
    asked = live(tool="sea*", command="/task", minCalls=5)
    assert seen.reading(asked, START_NS, apart_from="p").value == 9.0
    assert seen.reading(live(tool="search", command="/task", minCalls=7), START_NS, apart_from="p").value is None
    assert seen.reading(asked, START_NS).calls == 6


def test_apart_from_its_own_runs_it_looks_back_as_far_as_it_must():
    """Where a policy treats nearly all, the latest untreated calls count though they are older; never beyond an hour."""
    treated = {"p": Assignment("treatment", "d", "active", 0.95)}
    untreated = [run(step(StepKind.TOOL, "search", 3.0, end_s=-60.0 * number)) for number in range(90, 0, -10)]
    quick = [run(step(StepKind.TOOL, "search", 1.0), arms=treated) for _ in range(20)]
    seen = window(*untreated, *quick)
    seen.forget_before(START_NS)
    assert seen.reading(live(minCalls=5), START_NS, apart_from="p").value == 3.0
    assert seen.reading(live(minCalls=5), START_NS).value == 1.0
    assert seen.reading(live(minCalls=9), START_NS, apart_from="p").value is None


def test_nobody_asking_keeps_nothing():
    """Without a live condition the window holds no call."""
    made = LiveWindow()
    made.observe(run(step(StepKind.TOOL, "search", 9.0)))
    assert made.reading(live(minCalls=2), START_NS).calls == 0


def status(state=State.DORMANT, **when):
    raw = {"measure": "tool_latency_p95", "above": "2s", "offBelow": "1s", "for": "20s", "offFor": "30s", "minCalls": 3}
    spec = {
        "when": {"live": {**raw, "over": "4s", **when}},
        "match": {"tool": "search"},
        "optimize": {"type": "tool_cache"},
        "goal": {"metric": "latency"},
    }
    policy = OptimizationPolicy.model_validate(
        {"apiVersion": "perfopt.dev/v1", "kind": "OptimizationPolicy", "metadata": {"name": "p"}, "spec": spec}
    )
    return PolicyStatus(LoadedPolicy(policy, "d", "", 1, {}), PolicyState("p", state, "d"), None, (), (), ())


def turns(watch, one, times, first_s):
    """One turn every 5 s with three calls that take as long as told; None: no calls."""
    answers = []
    for number, seconds in enumerate(times):
        now_s = first_s + 5 * number
        for _ in range(3 if seconds is not None else 0):
            watch.observe(run(step(StepKind.TOOL, "search", seconds, end_s=now_s), end_s=now_s))
        answers.append(watch.answers([one], START_NS + int(now_s * SECOND))["p"].met)
    return answers


def test_waking_needs_the_whole_time_above_and_any_dip_starts_it_anew():
    """Twenty seconds above wake, in which one reading below the level starts the count again."""
    watch = LiveWatch()
    watch.answers([status()], START_NS)
    assert turns(watch, status(), [3.0] * 4, 5) == [None] * 4
    assert turns(watch, status(), [0.5] * 3, 25) == [None] * 3
    assert turns(watch, status(), [3.0] * 5, 40) == [None, None, None, None, True]


def test_between_the_levels_nothing_changes_and_standing_down_takes_its_own_time():
    """Awake it stays so between the two levels; thirty seconds at or below the lower one put it to sleep."""
    watch = LiveWatch()
    awake = status(State.ACTIVE)
    watch.answers([awake], START_NS)
    assert turns(watch, awake, [1.5] * 10, 5) == [None] * 10
    assert turns(watch, awake, [3.0] * 2, 55) == [True] * 2
    answers = turns(watch, awake, [0.5] * 12, 65)
    assert answers[-1] is False
    assert answers.index(False) >= 6


def test_no_calls_change_nothing():
    """Silence neither wakes nor puts to sleep, however long, and breaks what was held before it."""
    for state in (State.DORMANT, State.ACTIVE):
        watch = LiveWatch()
        one = status(state)
        watch.answers([one], START_NS)
        assert set(turns(watch, one, [None] * 60, 5)) == {None}
    watch = LiveWatch()
    watch.answers([status()], START_NS)
    turns(watch, status(), [3.0] * 3, 5)
    turns(watch, status(), [None] * 20, 20)
    assert turns(watch, status(), [3.0], 120) == [None]


@pytest.fixture
def fleet(tmp_path):
    return AdaptiveFleet(tmp_path)


@pytest.fixture
def controller(fleet):
    (fleet.home / "policies").mkdir()
    (fleet.home / "policies" / "remedy.yaml").write_text(POLICY)
    controller = Controller(fleet.home, fleet.clock)
    controller.turn()
    return controller


def state_of(controller, fleet):
    return controller.policies.status("remedy", fleet.now_ns).state


def lives(controller, fleet, turns, seconds):
    for _ in range(turns):
        fleet.live(20, seconds, every_s=0.5)
        controller.turn()


def jam(treated, _):
    return 1.2 if treated else 3.0


def calm(*_):
    return 0.4


def test_an_approved_remedy_is_switched_on_by_a_bottleneck_and_off_again(controller, fleet):
    """Asleep nobody is treated; the jam wakes it, calm puts it to sleep, and each turn of it is in the ledger."""
    controller.policies.approve("remedy", "a-second-person", "for the next jam", fleet.now_ns, "canary")
    lives(controller, fleet, 8, calm)
    assert state_of(controller, fleet).state is State.DORMANT
    assert fleet.snapshot().decisions == ()
    lives(controller, fleet, 10, jam)
    assert state_of(controller, fleet).state is State.CANARY
    assert fleet.snapshot().decisions[0].allocation.treatment == 0.5
    lives(controller, fleet, 18, calm)
    assert state_of(controller, fleet).state is State.DORMANT
    assert fleet.snapshot().decisions == ()
    told = [entry for entry in controller.policies.ledger.entries if entry.event in {"wake", "sleep", "wake up"}]
    assert [entry.event for entry in told] == ["wake", "sleep"]
    for entry in told:
        assert entry.details["live"]["measure"] == "tool_latency_p95"
        assert entry.details["live"]["calls"] >= 20
    assert told[0].details["live"]["value"] > 2.0
    assert told[1].details["live"]["value"] < 1.5
    assert "at or above 2s for 3" in told[0].reason


def test_it_wakes_where_it_stood_with_its_units_and_its_clock(controller, fleet):
    """Units are those of time awake, the hour of exposure does not run while it sleeps, and it can be promoted."""
    controller.policies.approve("remedy", "a-second-person", "for the next jam", fleet.now_ns, "canary")
    lives(controller, fleet, 10, jam)
    began_ns = state_of(controller, fleet).exposed_ns
    lives(controller, fleet, 18, calm)
    units_before = asleep_units(controller, fleet)
    fleet.now_ns += 3 * 3600 * SECOND
    lives(controller, fleet, 8, calm)
    assert asleep_units(controller, fleet) == units_before
    controller.policies.approve("remedy", "a-second-person", "also for good", fleet.now_ns, "active")
    lives(controller, fleet, 24, jam)
    state = state_of(controller, fleet)
    assert (state.state, state.exposed_ns) == (State.ACTIVE, began_ns)
    assert state.slept_s > 3 * 3600
    events = [entry.event for entry in controller.policies.ledger.entries if entry.policy == "remedy"]
    assert events[-3:] == ["approve", "wake up", "promote"]
    lives(controller, fleet, 24, calm)
    assert state_of(controller, fleet).state is State.DORMANT
    lives(controller, fleet, 12, jam)
    assert state_of(controller, fleet).state is State.ACTIVE


def asleep_units(controller, fleet):
    digest = controller.policies.status("remedy", fleet.now_ns).digest
    return sum(1 for _ in controller.observatory._units.units("remedy", digest))


def test_nobody_is_exposed_by_a_bottleneck_without_an_approval(controller, fleet):
    """An unapproved policy wakes to where it asks, and treats nobody."""
    lives(controller, fleet, 18, jam)
    assert state_of(controller, fleet).state is State.AWAITING
    assert fleet.snapshot().decisions == ()


def test_a_restarted_controller_sleeps_and_wakes_as_the_ledger_says(controller, fleet):
    """What is asleep stays asleep over a restart, and wakes to the same canary."""
    controller.policies.approve("remedy", "a-second-person", "for the next jam", fleet.now_ns, "canary")
    lives(controller, fleet, 10, jam)
    lives(controller, fleet, 18, calm)
    before = state_of(controller, fleet)
    again = Controller(fleet.home, fleet.clock)
    assert again.policies.status("remedy", fleet.now_ns).state == before
    lives(again, fleet, 12, jam)
    assert state_of(again, fleet).state is State.CANARY
