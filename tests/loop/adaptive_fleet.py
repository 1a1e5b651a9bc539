"""Agents that obey a snapshot and whose world changes: runs with one tool call each, whose time the test decides."""

from __future__ import annotations

import json

from simulated_fleet import SECOND, SimulatedFleet, _value

from otel_perfopt import conventions as c


class AdaptiveFleet(SimulatedFleet):
    """One conversation of one command with one tool call; `seconds(treated, conversation)` is how long the call takes."""

    def live(self, conversations, seconds, *, every_s=2.0, command="/task", failed=lambda treated: False):
        """Run conversations `every_s` apart; `treated` is the set of policies that treat one."""
        decisions = self.snapshot().decisions
        for _ in range(conversations):
            self.count += 1
            self.now_ns += int(every_s * SECOND)
            conversation = f"conversation-{self.count}"
            arms = {one.policy: (one, self._arm(one, conversation)) for one in decisions}
            treated = frozenset(name for name, (_, arm) in arms.items() if arm == "treatment")
            took = seconds(treated, conversation) * self.random.lognormvariate(0, 0.3)
            attributes = {c.STEP_KIND: "command", c.COMMAND_NAME: command, c.GEN_AI_CONVERSATION_ID: conversation}
            for policy, (decision, arm) in arms.items():
                if arm is not None:
                    attributes |= self.stamped(policy, decision, arm, conversation)
            self._runs(attributes, took, failed=failed(treated))

    def stamped(self, policy, decision, arm, conversation):
        """Return what the agent says of one policy on the command's span."""
        return {
            c.policy_attribute(policy, c.POLICY_ARM): arm,
            c.policy_attribute(policy, c.POLICY_DIGEST): decision.digest,
            c.policy_attribute(policy, c.POLICY_STAGE): decision.stage,
            c.policy_attribute(policy, c.POLICY_ALLOCATION): decision.allocation.treatment_share,
        }

    def _runs(self, attributes, took, *, failed):
        end_ns = self.now_ns + int((took + 0.1) * SECOND)
        command = self._span("command", self.now_ns, end_ns, attributes, failed=failed)
        tool = {
            c.STEP_KIND: "tool",
            c.GEN_AI_OPERATION_NAME: c.OPERATION_EXECUTE_TOOL,
            c.GEN_AI_TOOL_NAME: "search",
            c.GEN_AI_CONVERSATION_ID: attributes[c.GEN_AI_CONVERSATION_ID],
        }
        tool_span = self._span("search", self.now_ns, self.now_ns + int(took * SECOND), tool, parent=command["spanId"])
        scope = {"scope": {"name": c.INSTRUMENTATION_SCOPE}, "spans": [tool_span, command]}
        line = {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _span(self, name, start_ns, end_ns, attributes, *, parent="", failed=False):
        number = self.count * 2 + bool(parent)
        return {
            "traceId": f"{self.count:032x}",
            "spanId": f"{number:016x}",
            "parentSpanId": parent,
            "name": name,
            "startTimeUnixNano": str(start_ns),
            "endTimeUnixNano": str(end_ns),
            "attributes": [{"key": key, "value": _value(value)} for key, value in attributes.items()],
            "status": {"code": 2} if failed else {},
        }
