"""What the controller says of itself, of policies and of goals, on telemetry whose truth is known."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt import conventions as c
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.state import State
from otel_perfopt.loop import controller_metrics, policy_readings
from otel_perfopt.loop.controller import Controller
from otel_perfopt.loop.controller_metrics import ControllerMetrics
from otel_perfopt.loop.metrics_export import CONTROLLER_SERVICE, meter_provider
from otel_perfopt.settings import ExportSettings
from otel_perfopt.verify.verdict import Conclusion

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata:
  name: {name}
  author: somebody
  annotations: {{perfopt.dev/predicted: '0.3', perfopt.dev/predicted-low: '0.2', perfopt.dev/predicted-high: '0.4'}}
spec:
  match: {{command: [/task]}}
  optimize: {{type: parallel_tools}}
  rollout:
    warmup: 0s
    steps: [{{shadow: 30s}}, {{treatment: 50%, baseline: 50%}}]
    limits: {{minUnits: 100, maxUnits: 2000}}
  goal: {{metric: latency, improve: 10%}}
  guardrails: [{{metric: task_failure, maxIncrease: 10pp}}]
"""


class Watched:
    """A controller on a simulated fleet, and what its meters say."""

    def __init__(self, home, names=("parallel",)):
        self.fleet = SimulatedFleet(home)
        (home / "policies").mkdir()
        for name in names:
            (home / "policies" / f"{name}.yaml").write_text(POLICY.format(name=name))
        self.controller = Controller(home, self.fleet.clock)
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.metrics = ControllerMetrics(self.controller, self.provider, self.fleet.clock)
        self.turn()

    def turn(self, conversations=0, **truth):
        if conversations:
            self.fleet.converse(conversations, **truth)
        self.fleet.now_ns += 3 * SECOND
        turn = self.controller.turn()
        self.metrics.observe(turn)
        return turn

    def said(self, name, **labels):
        """Return the values of a metric whose attributes hold `labels` (dots written as two underscores)."""
        wanted = {key.replace("__", "."): value for key, value in labels.items()}
        data = self.reader.get_metrics_data()
        return [
            point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name[0]
            for point in metric.data.data_points
            if wanted.items() <= dict(point.attributes).items()
        ]

    def approve(self, gate):
        self.controller.policies.approve("parallel", "a-second-person", "looked at it", self.fleet.now_ns, gate)


@pytest.fixture
def watched(tmp_path):
    watched = Watched(tmp_path)
    yield watched
    assert watched.said(c.METRIC_CONTROLLER_FAULTS) == [0]
    watched.provider.shutdown()


def in_canary(watched, turns=12, **truth):
    watched.approve("canary")
    for _ in range(turns):
        watched.turn(20, **truth)


def test_every_state_verdict_and_risk_has_a_code():
    """Nothing the life cycle, the comparison or the types can say is without its code."""
    assert set(c.STATE_CODES) == {str(state) for state in State}
    assert len(set(c.STATE_CODES.values())) == len(c.STATE_CODES)
    assert set(c.VERDICT_CODES) == {str(one) for one in Conclusion}
    assert {kind.risk.partition(":")[0] for kind in OPTIMIZATION_TYPES.values()} <= set(c.RISK_CODES)


def test_a_policy_is_followed_through_its_life(watched):
    """State, exposure and the count of roll-backs are what the policy's life says."""
    assert watched.said(c.METRIC_POLICY_STATE) == [c.STATE_CODES["shadow"]]
    assert watched.said(c.METRIC_POLICY_EXPOSURE) == [0.0]
    in_canary(watched)
    assert watched.said(c.METRIC_POLICY_STATE) == [c.STATE_CODES["canary"]]
    assert watched.said(c.METRIC_POLICY_EXPOSURE) == [0.5]
    assert watched.said(c.METRIC_POLICY_ROLLBACKS) == [0]
    watched.controller.policies.rollback("parallel", "anna", "no", watched.fleet.now_ns)
    moment = watched.fleet.now_ns / 1e9
    watched.turn()
    assert watched.said(c.METRIC_POLICY_STATE) == [c.STATE_CODES["rolled back"]]
    assert watched.said(c.METRIC_POLICY_EXPOSURE) == [0.0]
    assert watched.said(c.METRIC_POLICY_ROLLBACKS) == [1]
    labels = {"perfopt__change__from": "canary", "perfopt__change__to": "rolled back"}
    assert watched.said(c.METRIC_POLICY_CHANGED, **labels) == [moment]


def test_the_effect_is_the_verdicts(watched):
    """Effect, interval, units and guardrails are those of the standing; the prediction is a change, as the effect is."""
    in_canary(watched, treated_seconds=0.7)
    turn = watched.turn(20, treated_seconds=0.7)
    verdict = turn.standings["parallel"].verdict
    goal = verdict.metrics[0].effect
    for part, value in (("low", goal.low), ("estimate", goal.estimate), ("high", goal.high)):
        assert watched.said(c.METRIC_POLICY_EFFECT, perfopt__role="goal", perfopt__interval=part) == [value]
    assert goal.low < math.log(0.7) / 1 + 0.2
    for arm, units in (("treatment", verdict.treatment_units), ("baseline", verdict.baseline_units)):
        assert watched.said(c.METRIC_POLICY_UNITS, perfopt__arm=arm) == [units]
    predicted = [
        watched.said(c.METRIC_POLICY_PREDICTED, perfopt__interval=part)[0] for part in ("low", "estimate", "high")
    ]
    assert predicted == [-0.4, -0.3, -0.2]


def test_harm_is_seen_coming_and_then_shown(watched):
    """Evidence grows to 1 as treatment fails, the guardrail turns harmed, and the roll-back is counted."""
    watched.approve("canary")
    evidence, harmed = [], []
    for _ in range(40):
        watched.turn(20, treated_failures=0.7)
        evidence += watched.said(c.METRIC_POLICY_EVIDENCE, perfopt__metric="task_failure")
        harmed += watched.said(c.METRIC_POLICY_GUARDRAIL, perfopt__metric="task_failure")
        if watched.said(c.METRIC_POLICY_ROLLBACKS) == [1]:
            break
    assert watched.said(c.METRIC_POLICY_ROLLBACKS) == [1]
    assert evidence[0] < 1 <= evidence[-1]
    assert harmed[-1] == c.GUARDRAIL_CODES["harmed"]


def test_a_canary_waits_for_nobody_before_it_is_better(watched):
    """The time an approval waits counts from when there is something to say yes to."""
    assert watched.said(c.METRIC_POLICY_WAITING)[0] > 0
    watched.approve("canary")
    better_ns = None
    for _ in range(40):
        turn = watched.turn(20, treated_seconds=0.5, treated_failures=0.0)
        standing = turn.standings.get("parallel")
        better = standing is not None and standing.verdict is not None and str(standing.verdict.conclusion) == "better"
        if better and better_ns is None:
            better_ns = turn.now_ns
        state = watched.controller.policies.status("parallel", turn.now_ns).state.state
        expected = (turn.now_ns - better_ns) / 1e9 if better_ns is not None else 0.0
        if state is State.CANARY and (better or better_ns is None):
            assert watched.said(c.METRIC_POLICY_WAITING) == [expected]
        if better_ns is not None and turn.now_ns - better_ns > 120 * SECOND:
            break
    assert better_ns is not None


def test_the_time_to_a_verdict_follows_the_traffic(watched):
    """A conversation every two seconds and so many units: the expected time is their product, and shrinks."""
    watched.turn(20)
    first = watched.said(c.METRIC_POLICY_REMAINING)[0]
    needed = watched.metrics._times._needed[watched.controller.policies.status("parallel", 0).digest]
    # Shadow lasts 30 s, and every third second of the fleet's clock passes without a conversation.
    assert first == pytest.approx(needed * 2.0 + 30, rel=0.15)
    in_canary(watched)
    assert watched.said(c.METRIC_POLICY_REMAINING)[0] < first


def test_goals_are_measured_against_untreated_runs(watched):
    """Treatment takes 60 % of the time: the achieved improvement is its share of runs times 40 %."""
    in_canary(watched, turns=20, treated_seconds=0.6)

    def goal(part):
        return watched.said(c.METRIC_GOAL_RESPONSE, perfopt__goal__value=part)[0]

    assert goal("target") == pytest.approx(goal("reference") * 0.7)
    achieved = watched.said(c.METRIC_GOAL_IMPROVEMENT, perfopt__goal="response_time", perfopt__goal__value="achieved")
    assert achieved == [pytest.approx(1 - goal("current") / goal("reference"))]
    assert achieved[0] == pytest.approx(0.5 * 0.4, abs=0.06)
    assert watched.said(c.METRIC_GOAL_SATISFACTION, perfopt__goal__value="current") == []


def test_the_controller_says_how_it_is(watched):
    """Turns, runs, lease and ledger are counted as they are."""
    watched.turn(7)
    # A run counts once everything of it has surely been written.
    watched.turn(1)
    assert watched.said(c.METRIC_CONTROLLER_TURNS) == [3]
    assert 7 <= watched.said(c.METRIC_CONTROLLER_RUNS)[0] <= 8
    assert watched.said(c.METRIC_SNAPSHOT_TIME) == [watched.fleet.now_ns / 1e9]
    assert watched.said(c.METRIC_SNAPSHOT_LEASE) == [60.0]
    assert watched.said(c.METRIC_LEDGER_HEALTHY) == [1]
    assert watched.said(c.METRIC_KILLED) == [0]
    watched.controller.policies.kill(None, "anna", "stop", watched.fleet.now_ns)
    watched.turn()
    assert watched.said(c.METRIC_KILLED) == [1]


def test_series_are_bounded(tmp_path, monkeypatch):
    """However many policies there are, only so many are told of."""
    for module in (policy_readings, controller_metrics):
        monkeypatch.setattr(module, "MAX_POLICIES", 3)
    watched = Watched(tmp_path, names=[f"policy-{number}" for number in range(6)])
    watched.turn(3)
    for name in (c.METRIC_POLICY_STATE, c.METRIC_POLICY_WAITING, c.METRIC_POLICY_ROLLBACKS, c.METRIC_POLICY_RISK):
        assert len(watched.said(name)) == 3, name
    assert len(watched.said(c.METRIC_POLICY_CHANGED)) <= 3 * len(c.STATE_CODES)
    watched.provider.shutdown()


def test_a_fault_never_reaches_the_loop(tmp_path, caplog):
    """A goals file that cannot be read leaves the last readings standing, is counted, and told once."""
    watched = Watched(tmp_path)
    watched.turn(5)
    before = watched.said(c.METRIC_POLICY_STATE)
    (tmp_path / "goals.yaml").write_text("kind: [")
    with caplog.at_level(logging.WARNING):
        watched.turn(5)
        watched.turn(5)
    assert watched.said(c.METRIC_CONTROLLER_FAULTS) == [2]
    assert watched.said(c.METRIC_POLICY_STATE) == before
    assert len([one for one in caplog.records if "metrics could not be made" in one.message]) == 1
    watched.provider.shutdown()


@pytest.mark.parametrize(
    ("environment", "endpoint", "protocol"),
    [
        ({}, "", "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318"}, "http://a:4318", "http/protobuf"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://b/v1"},
            "http://b/v1",
            "http/protobuf",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "http://a:4317",
            "grpc",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_METRICS_EXPORTER": "none"}, "", "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318", "OTEL_SDK_DISABLED": "true"}, "", "http/protobuf"),
    ],
)
def test_metrics_go_where_the_environment_says(environment, endpoint, protocol):
    """The OpenTelemetry variables decide, the specific before the general."""
    found = ExportSettings.from_environment(environment)
    assert (found.metrics_endpoint, found.metrics_protocol) == (endpoint, protocol)


def test_nothing_is_sent_where_nothing_is_configured():
    """Without an endpoint there is no provider, and no thread."""
    assert meter_provider(ExportSettings()) is None


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_controller_has_a_name_of_its_own(protocol, monkeypatch):
    """Its service is perfopt-controller unless the environment names one."""
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    provider = meter_provider(ExportSettings(metrics_endpoint="http://127.0.0.1:1", metrics_protocol=protocol))
    try:
        assert provider._sdk_config.resource.attributes["service.name"] == CONTROLLER_SERVICE
    finally:
        provider.shutdown(timeout_millis=100)


def test_the_loop_goes_on_where_nobody_listens(tmp_path):
    """`perfopt loop` takes its turn and ends well although the endpoint is closed."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text(POLICY.format(name="p"))
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_METRIC_EXPORT_TIMEOUT": "500",
    }
    command = [sys.executable, "-m", "otel_perfopt.cli.main", "loop", "--once", "--home", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "the controller's metrics are off" not in done.stderr
    assert '"to":"shadow"' in (tmp_path / "ledger.jsonl").read_text()
    assert (tmp_path / "snapshot.json").exists()
