"""Agents that obey a snapshot: conversations in, telemetry files out, with a truth that tests decide."""

from __future__ import annotations

import json
import random
from pathlib import Path

from otel_perfopt import conventions as c
from otel_perfopt.decide.decision import Snapshot

SECOND = 1_000_000_000
START_NS = 1_790_000_000 * SECOND


class SimulatedFleet:
    """Writes one command span a conversation, with the arm that the snapshot gives it."""

    def __init__(self, home: Path, seed: int = 1) -> None:
        self.home = home
        self.random = random.Random(seed)
        self.now_ns = START_NS
        self.count = 0
        (home / "telemetry").mkdir(parents=True, exist_ok=True)
        self.file = home / "telemetry" / "agent-1.jsonl"

    def clock(self):
        return self.now_ns

    def snapshot(self):
        return Snapshot.from_json((self.home / "snapshot.json").read_text())

    def converse(self, conversations, *, treated_seconds=1.0, treated_failures=0.04, shadow_false_hits=0):
        """Run conversations two seconds apart; what treatment changes is up to the test."""
        decisions = self.snapshot().decisions
        for _ in range(conversations):
            self.count += 1
            self.now_ns += 2 * SECOND
            conversation = f"conversation-{self.count}"
            arms = {one.policy: (one, self._arm(one, conversation)) for one in decisions}
            treated = any(arm == "treatment" for _, arm in arms.values())
            seconds = self.random.lognormvariate(0, 0.3) * (treated_seconds if treated else 1.0)
            failed = self.random.random() < (treated_failures if treated else 0.04)
            attributes = {c.STEP_KIND: "command", c.COMMAND_NAME: "/task", c.GEN_AI_CONVERSATION_ID: conversation}
            for policy, (decision, arm) in arms.items():
                if arm is not None:
                    attributes |= {
                        c.policy_attribute(policy, c.POLICY_ARM): arm,
                        c.policy_attribute(policy, c.POLICY_DIGEST): decision.digest,
                        c.policy_attribute(policy, c.POLICY_STAGE): decision.stage,
                        c.policy_attribute(policy, c.POLICY_ALLOCATION): decision.allocation.treatment_share,
                    }
                if decision.stage == "shadow" and shadow_false_hits:
                    attributes[c.policy_attribute(policy, c.POLICY_FALSE_HITS)] = shadow_false_hits
            self._write(attributes, seconds, failed=failed)

    @staticmethod
    def _arm(decision, conversation):
        if decision.stage == "shadow":
            return "baseline"
        return decision.allocation.arm(decision.salt, conversation)

    def _write(self, attributes, seconds, *, failed):
        span = {
            "traceId": f"{self.count:032x}",
            "spanId": f"{self.count:016x}",
            "name": "command /task",
            "startTimeUnixNano": str(self.now_ns),
            "endTimeUnixNano": str(self.now_ns + int(seconds * SECOND)),
            "attributes": [{"key": key, "value": _value(value)} for key, value in attributes.items()],
            "status": {"code": 2} if failed else {},
        }
        scope = {"scope": {"name": c.INSTRUMENTATION_SCOPE}, "spans": [span]}
        line = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _value(value):
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
