"""The example workload with a model that thinks first and customers who rate each answer; arguments as it takes them."""

from __future__ import annotations

import sys

from support import agent, workload

import otel_perfopt


class ThinkingAgent(agent.SupportAgent):
    """Asks its model to think."""

    def _request(self, **more):
        return super()._request(reasoning_effort="low", **more)


def rated(run_command):
    def run(one, command):
        outcome = run_command(one, command)
        otel_perfopt.feedback(5.0 if outcome["ok"] else 2.0, conversation_id=command.conversation)
        return outcome

    return run


workload.SupportAgent = ThinkingAgent
workload.run_command = rated(workload.run_command)
sys.exit(workload.main())
