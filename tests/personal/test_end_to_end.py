"""Two users and an approved policy for those who prefer speed: one says so, one is found out, nobody else is touched."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("openai")

from otel_perfopt.decide.allocation import TREATMENT, Allocation
from otel_perfopt.decide.kill_switch import switch_off
from otel_perfopt.loop.controller import Controller
from otel_perfopt.signal.user_digest import user_digest

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: quick-answers, author: somebody}
spec:
  mode: canary
  match: {command: /query, preference: speed}
  optimize: {type: effort_routing, with: {effort: low}}
  rollout:
    warmup: 0s
    steps: [{treatment: 80%, baseline: 20%}]
    limits: {minUnits: 5000, maxUnits: 8000}
  goal: {metric: latency, improve: 10%}
"""
WAIT_S = 60.0


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = body["messages"][0]["content"]
        self.server.efforts.append(body["reasoning_effort"])
        time.sleep(0.08 if "hard" in question else 0.002)
        message = {"role": "assistant", "content": f"answer, {body['reasoning_effort']}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        said = {"id": "r", "object": "chat.completion", "created": 0, "model": "gpt-5", "choices": [choice]}
        data = json.dumps({**said, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)


@pytest.fixture
def model():
    """A model server of our own, which tells how hard it was asked to think."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads, server.efforts = True, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


class Desk:
    """The agent as a process under `perfopt run`, and the controller of its home folder."""

    def __init__(self, home: Path, model: ThreadingHTTPServer) -> None:
        self.home, self._number = home, 0
        (home / "policies").mkdir(parents=True)
        (home / "policies" / "quick-answers.yaml").write_text(POLICY)
        self.controller = Controller(home)
        self.controller.turn()
        self.controller.policies.approve("quick-answers", "a-second-person", "tried it", time.time_ns(), "canary")
        self.until(lambda: self.snapshot()["decisions"])
        command = [sys.executable, "-m", "otel_perfopt.cli.main", "run", "--home", str(home)]
        command += [
            "--command",
            "support_desk:answer=/query",
            sys.executable,
            "-c",
            "import support_desk; support_desk.serve()",
        ]
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": f"http://127.0.0.1:{model.server_port}/v1",
            "OPENAI_API_KEY": "none",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        folder = Path(__file__).parent
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=folder, text=True
        )

    def snapshot(self):
        return json.loads((self.home / "snapshot.json").read_text())

    def told(self, digest):
        """What is published of users, once this one is among them."""
        users = self.snapshot()["personalization"]["users"]
        return users if digest in users else None

    def conversation(self, *, treated: bool = True) -> str:
        """An id that the policy would put into one arm."""
        (decision,) = self.snapshot()["decisions"]
        allocation = Allocation(**decision["allocation"])
        while True:
            self._number += 1
            if (allocation.arm(decision["salt"], f"c{self._number}") == TREATMENT) is treated:
                return f"c{self._number}"

    def ask(self, user, question="easy", *, treated=True, **more):
        request = {
            "user": f"{user}@example.org",
            "question": question,
            "conversation": self.conversation(treated=treated),
            **more,
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def until(self, holds):
        deadline = time.monotonic() + WAIT_S
        while True:
            self.controller.turn()
            found = holds()
            if found:
                return found
            assert time.monotonic() < deadline, self.snapshot()
            time.sleep(0.05)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def desk(tmp_path, model):
    """The agent and its controller, running."""
    running = Desk(tmp_path / "home", model)
    yield running
    running.close()


SPEED = {"headers": {"baggage": "perfopt.preference=speed"}}
QUALITY = {"headers": {"baggage": "perfopt.preference=quality"}}


def test_two_users_get_what_they_prefer_and_nobody_else_is_touched(desk):
    """Said by baggage or learned from behaviour, speed gets less thinking; others, and everybody once killed, get none of it."""
    assert desk.ask("ada", **SPEED) == "answer, low"
    assert desk.ask("ada", treated=False, **SPEED) == "answer, high", "the baseline stays plain"
    assert desk.ask("max") == "answer, high"
    assert desk.ask("joan", **QUALITY) == "answer, high"
    assert desk.ask("max", headers={"baggage": "perfopt.preference=warp"}) == "answer, high"

    chance = random.Random(3)
    for turn in range(48):
        hard = chance.random() < 0.5
        stops = hard and chance.random() < 0.6
        score = None if stops else 0.3 if hard else 0.9
        desk.ask("grace", "hard" if hard else "easy", stops=stops, score=score)
        if turn % 2:
            # Max takes what he gets.
            desk.ask("max", "hard" if chance.random() < 0.5 else "easy", score=chance.choice((0.6, 0.8)))
    salt = desk.until(lambda: desk.snapshot()["personalization"]["salt"])
    ada, grace, joan, max_ = (user_digest(f"{user}@example.org", salt) for user in ("ada", "grace", "joan", "max"))
    learned = desk.until(lambda: desk.told(grace))
    assert learned == {ada: "speed", grace: "speed", joan: "quality"}, "two said it, one showed it"
    assert max_ not in learned
    for name in ("snapshot.json", "ledger.jsonl"):
        assert "example.org" not in (desk.home / name).read_text()

    deadline = time.monotonic() + WAIT_S
    while desk.ask("grace") != "answer, low":
        desk.controller.turn()
        assert time.monotonic() < deadline
    assert desk.ask("grace", treated=False) == "answer, high"
    assert desk.ask("grace", **QUALITY) == "answer, high", "what is said wins over what was learned"
    assert desk.ask("max") == "answer, high"
    assert desk.ask("joan") == "answer, high"

    switch_off(desk.home, None)
    deadline = time.monotonic() + WAIT_S
    while desk.ask("ada", **SPEED) != "answer, high":
        assert time.monotonic() < deadline
    assert desk.ask("grace") == "answer, high"
