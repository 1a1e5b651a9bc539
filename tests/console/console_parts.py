"""A console on a home folder, without a server: a client that speaks to it, and what a test needs to know of it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.testclient import TestClient

from otel_perfopt.console.console_settings import ConsoleSettings
from otel_perfopt.console.desk import Desk
from otel_perfopt.console.server import running_console
from otel_perfopt.loop.controller import Controller

TOKEN = "a-token-that-only-these-tests-know"
AGENT_TOKEN = "another-token-that-agents-show"
HOST = "127.0.0.1:8765"
POLICY = """apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: cache, author: somebody}
spec:
  match: {command: "*"}
  effects: {"*": read}
  optimize: {type: tool_cache, with: {ttl: 24h, scope: conversation}}
  rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}], limits: {minUnits: 60}}
  goal: {metric: latency}
  guardrails: [{metric: task_failure, maxIncrease: 10pp}]
"""


@dataclass
class Visitor:
    """A browser without a screen, and the console it speaks to."""

    client: TestClient
    desk: Desk

    def get(self, path, **arguments):
        return self.client.get(path, **arguments)

    def csrf(self, path="/kill"):
        return re.search(r'name="csrf" value="([^"]+)"', self.get(path).text)[1]

    def send(self, path, csrf=None, **fields):
        """Send a form as the page would."""
        return self.client.post(path, data={"csrf": self.csrf() if csrf is None else csrf, **fields})

    def log_in(self, name="maria", token=TOKEN):
        return self.send("/login", token=token, name=name, next="/policies")


@contextmanager
def console(home, **settings):
    """Run a console whose loop turns when it is asked to."""
    settings = {"hosts": frozenset({HOST}), "every_s": 3600.0, "analyse_every_s": 3600.0, **settings}
    controller = Controller(home, proposes=False, **({"clock": settings.pop("clock")} if "clock" in settings else {}))
    clock = {"clock": controller._clock}
    with running_console(ConsoleSettings(home, TOKEN, **settings), controller=controller, **clock) as running:
        running.desk.loop.look_now(30)
        with TestClient(running.app, base_url=f"http://{HOST}", follow_redirects=False) as client:
            yield Visitor(client, running.desk)
