"""What the controller does beside deciding: it learns, queues, proposes and tells the ledger's head, and none of it can stop a turn."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt import conventions as c
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.decide.learning import Learned
from otel_perfopt.decide.ledger_heads import KnownHead, check_heads, read_heads
from otel_perfopt.decide.trial_outcome import Context, TrialOutcome
from otel_perfopt.errors import LedgerError
from otel_perfopt.execution.model import Target
from otel_perfopt.loop.controller import Controller
from otel_perfopt.loop.ledger_beacon import LedgerBeacon
from otel_perfopt.loop.queue import optimization_queue

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata:
  name: {name}
  author: somebody
  annotations: {{perfopt.dev/predicted: "{saved}", perfopt.dev/predicted-low: "{low}", perfopt.dev/predicted-high: "0.9", perfopt.dev/expected-days: "3.5", perfopt.dev/expected-units: "700"}}
spec:
  match: {{command: [/{name}]}}
  optimize: {{type: {kind}}}
  goal: {{metric: latency}}
"""


@pytest.fixture
def fleet(tmp_path):
    fleet = SimulatedFleet(tmp_path)
    (tmp_path / "policies").mkdir()
    return fleet


def declare(fleet, name, kind="tool_cache", saved=0.3):
    text = POLICY.format(name=name, kind=kind, saved=saved, low=saved - 0.1)
    (fleet.home / "policies" / f"{name}.yaml").write_text(text)


def test_the_queue_is_in_order_of_expected_value(fleet):
    """More saved, less risk and a better record come first; each item says what it needs and how long it takes."""
    declare(fleet, "small", saved=0.15)
    declare(fleet, "large", saved=0.4)
    declare(fleet, "safe", kind="parallel_tools", saved=0.4)
    controller = Controller(fleet.home, fleet.clock)
    queue = optimization_queue(controller.policies, Learned(()), fleet.now_ns)
    assert [item.policy for item in queue] == ["safe", "large", "small"]
    first = queue[0]
    assert (first.risk, first.expected_units, first.expected_days) == ("low", 700, 3.5)
    assert first.needs == "approval (canary)"
    assert first.saved.low < first.saved.estimate < first.saved.high
    failed = TrialOutcome("x", "d", "parallel_tools", Context("/safe"), "taken back", "raced", fleet.now_ns, "latency")
    again = optimization_queue(controller.policies, Learned([failed] * 3), fleet.now_ns)
    assert [item.policy for item in again] == ["large", "small", "safe"]
    assert any("raced" in reason for reason in again[-1].reasons)


def test_what_is_forbidden_waits_at_the_end(fleet):
    """A boundary makes its score nothing and says what it needs."""
    declare(fleet, "large", saved=0.4)
    declare(fleet, "safe", kind="parallel_tools", saved=0.1)
    (fleet.home / "boundary.yaml").write_text(
        "apiVersion: perfopt.dev/v1\nkind: SafetyBoundary\nmetadata: {name: b}\nspec: {types: [parallel_tools]}\n"
    )
    controller = Controller(fleet.home, fleet.clock)
    queue = optimization_queue(controller.policies, Learned(()), fleet.now_ns)
    assert [item.policy for item in queue] == ["safe", "large"]
    assert queue[-1].needs == "a change: a boundary forbids it"


def finding(command: str, saved: float) -> Finding:
    return Finding(
        kind="repeated_call",
        target=Target(command=command),
        summary="calls repeat.",
        detector="repeats",
        effect=Effect("latency", "s", Interval(saved, saved - 0.05, saved + 0.05)),
        suggestion=Suggestion("parallel_tools", {}, {"command": (command,)}),
    )


def test_a_controller_that_proposes_writes_what_each_analysis_finds_once(fleet, monkeypatch):
    """As data arrives new proposals come, best first, and none twice."""
    found = (finding("/a", 0.1), finding("/b", 0.4))
    monkeypatch.setattr("otel_perfopt.loop.findings_watch.FindingsWatch.latest", lambda *_: found)
    controller = Controller(fleet.home, fleet.clock, proposes=True)
    controller.turn()
    controller.turn()
    assert list(controller.policies.journal.proposed) == ["b-parallel-tools", "a-parallel-tools"]
    quiet = Controller(fleet.home / "quiet", fleet.clock)
    quiet.turn()
    assert quiet.policies.journal.proposed == {}


def test_nothing_beside_deciding_can_end_a_turn(fleet, monkeypatch):
    """A learner that raises and a beacon that raises are told, and the snapshot is published all the same."""
    declare(fleet, "one")

    class Broken:
        def tell(self, *_):
            raise RuntimeError("no network")

    def broken(*_, **__):
        raise ZeroDivisionError("odd arithmetic")

    monkeypatch.setattr("otel_perfopt.decide.learned_file.LearnedFile.learned", broken)
    turn = Controller(fleet.home, fleet.clock, beacon=Broken()).turn()
    assert turn.snapshot is not None
    assert any("learn failed: ZeroDivisionError" in problem for problem in turn.problems)
    assert any("tell_head failed: RuntimeError" in problem for problem in turn.problems)


def test_a_corrupt_learner_state_changes_nothing_for_anybody(fleet):
    """The file is set aside, learned again from the ledger, and the turn has no problem."""
    declare(fleet, "one")
    (fleet.home / "learned.json").write_bytes(b'{"format": "perfopt.learned", "ver')
    with ThreadPoolExecutor(1) as executor:
        controller = Controller(fleet.home, fleet.clock, executor=executor)
        turn = controller.turn()
    assert turn.problems == ()
    assert turn.snapshot is not None
    assert controller.learned.outcomes == ()
    assert (fleet.home / "learned.json.set-aside").exists()


def test_each_new_head_is_told_once_as_a_log_record(fleet, tmp_path):
    """Heads go out as they come and again after an hour; kept as OTLP JSON they show what was cut off."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    declare(fleet, "one")
    controller = Controller(fleet.home, fleet.clock, beacon=LedgerBeacon(provider))
    controller.turn()
    controller.turn()
    (told,) = exporter.get_finished_logs()
    head = controller.policies.ledger.head
    assert told.log_record.attributes == {c.LEDGER_SEQUENCE: head.sequence, c.LEDGER_HASH: head.hash}
    assert told.log_record.event_name == "perfopt.ledger.head"
    fleet.now_ns += 3601 * SECOND
    controller.turn()
    assert len(exporter.get_finished_logs()) == 2
    attributes = [
        {"key": c.LEDGER_SEQUENCE, "value": {"intValue": str(head.sequence)}},
        {"key": c.LEDGER_HASH, "value": {"stringValue": head.hash}},
    ]
    kept = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"attributes": attributes}, {"attributes": []}]}]}]}
    (tmp_path / "logs.json").write_text(json.dumps(kept) + "\n")
    assert read_heads(tmp_path / "logs.json") == (KnownHead(head.sequence, head.hash),)
    check_heads(controller.policies.ledger.entries, read_heads(tmp_path / "logs.json"))
    with pytest.raises(LedgerError, match="cut off"):
        check_heads(controller.policies.ledger.entries[:-1], read_heads(tmp_path / "logs.json"))
