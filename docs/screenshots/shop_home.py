"""A home folder with a past: nothing in; weeks of a shop's support agent, its findings, proposals and roll-outs out.

The agent is simulated, so that the same seed gives the same home; its conversations obey the snapshot that the
real controller publishes, and everything else in the home was made by the real thing.
"""

# ruff: noqa: D102, INP001, PLR0917, S311 - a script beside the documentation; its draws only need to be the same each time

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.decide.decision import Decision, Snapshot
from otel_perfopt.decide.state import State
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.loop.controller import Controller
from otel_perfopt.signal.read.recorded import open_recorded

SECOND = 10**9
HOUR = 3600 * SECOND
DAY = 24 * HOUR
START = 1_793_577_600 * SECOND  # 2026-11-02 00:00 UTC, a Monday
ROLLOUT = {
    "warmup": "0s",
    "steps": [{"shadow": "30m"}, {"treatment": "50%", "baseline": "50%"}],
    "limits": {"minUnits": 260, "maxUnits": 4000, "maxDuration": "7d"},
}
GUARDRAILS = (
    {"metric": "task_failure", "maxIncrease": "10pp"},
    {"metric": "latency_p95_exceed", "maxIncrease": "12pp"},
    {"metric": "tokens", "maxIncrease": "15%"},
)
HARMFUL = """# Keeps orders for five minutes, for everybody, while other people change them.
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: generous-cache, author: a-hasty-colleague}
spec:
  match: {command: [/order], tool: [get_order]}
  optimize:
    type: tool_cache
    with: {ttl: 5m, scope: process}
  effects: {get_order: read}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
  goal: {metric: latency, improve: 5%}
  guardrails:
    - {metric: task_failure, maxIncrease: 10pp}
"""
COMPRESSION = """apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: shorter-results, author: search-team, owner: search-team}
spec:
  match: {command: [/policy]}
  optimize: {type: context_compression}
  rollout:
    warmup: 0s
    steps: [{treatment: 50%, baseline: 50%}]
    limits: {minUnits: 260, maxUnits: 4000, maxDuration: 14d}
  goal: {metric: tokens, improve: 10%}
  guardrails:
    - {metric: task_failure, maxIncrease: 10pp}
    - {metric: latency, maxIncrease: 10%}
"""
COMMANDS = {"/order": 5, "/policy": 3, "/refund": 2}
TOOLS = {
    "/order": ("get_order", "get_customer", "shipping_status"),
    "/policy": ("search_docs", "get_customer", "list_rules"),
    "/refund": ("get_order", "inventory"),
}


@dataclass
class Shop:
    """The simulated agents of one home folder."""

    home: Path
    seed: int = 1
    now_ns: int = START
    release: str = "1.4.0"
    slower: float = 1.0
    _spans: int = 0
    _talks: int = 0
    _lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        (self.home / "telemetry").mkdir(parents=True, exist_ok=True)

    def clock(self) -> int:
        return self.now_ns

    def history(self, days: int, talks_an_hour: float) -> None:
        """Let the agents work, unoptimized; the last third of it, at most three days, on a release that is slower."""
        released = max(days * 16, (days - 3) * 24)
        for hour in range(days * 24):
            if hour == released:
                self.release, self.slower = "1.5.0", 1.3
            busy = _busy(hour)
            talks = self._poisson(talks_an_hour * busy)
            for moment in sorted(self.random.random() for _ in range(talks)):
                self.now_ns = START + int((hour + moment) * HOUR)
                self.talk((), 1.0 + 0.25 * (busy - 1))
        self.now_ns = START + days * DAY
        self.write("history")

    def obey(self, talks: int, every_s: float) -> None:
        """Let conversations come that do what the snapshot says."""
        decisions = Snapshot.from_json((self.home / "snapshot.json").read_text()).decisions
        for _ in range(talks):
            busy = _busy((self.now_ns - START) / HOUR)
            self.now_ns += int(every_s / busy * SECOND)
            self.talk(decisions, 1.0 + 0.25 * (busy - 1))
        self.write("live")

    def talk(self, decisions: tuple[Decision, ...], load: float) -> None:
        """One conversation of one to three commands."""
        self._talks += 1
        talk, at = f"conversation-{self._talks:05d}", self.now_ns
        arms = {one.policy: (one, self._arm(one, talk)) for one in decisions}
        asked = [
            self.random.choices(list(COMMANDS), list(COMMANDS.values()))[0] for _ in range(self.random.randint(1, 3))
        ]
        context = 1800
        for command in asked:
            at, context = self._run(talk, command, at, arms, load, context)
            at += int(self.random.uniform(2, 9) * SECOND)

    def write(self, name: str) -> None:
        """Append what was done to a telemetry file."""
        with (self.home / "telemetry" / f"shop-{name}.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(self._lines)
        self._lines.clear()

    @staticmethod
    def _arm(decision: Decision, talk: str) -> str | None:
        return "baseline" if decision.stage == "shadow" else decision.allocation.arm(decision.salt, talk)

    def _run(
        self, talk: str, command: str, at: int, arms: dict[str, tuple[Decision, str | None]], load: float, context: int
    ) -> tuple[int, int]:
        mine = {
            name: one
            for name, one in arms.items()
            if one[0].match.command in ((), (command,)) or command in one[0].match.command
        }
        does = {one.optimization for one, arm in mine.values() if arm == "treatment"}
        harmed = any(name == "generous-cache" and arm == "treatment" for name, (_, arm) in mine.items())
        trace = f"{self.random.getrandbits(128) | 1:032x}"
        root, begun, spans = self._id(), at, []
        smaller = 0.72 if "context_compression" in does else 1.0

        def model(asks: tuple[str, ...]) -> None:
            nonlocal at, context
            took = self._seconds(0.75 * load * self.slower)
            called = self._id()
            ids = [f"call-{called}-{number}" for number in range(len(asks))]
            spans.append(self._span(trace, called, root, "chat shop-model", at, took, self._model(context)))
            spans.append(self._span(trace, self._id(), called, "think", at, 0.3 * took, {c.STEP_KIND: "thinking"}))
            at += int(took * SECOND)
            began = at
            for tool, call in zip(asks, ids, strict=True):
                hit = "tool_cache" in does and tool in {"search_docs", "get_customer", "get_order"}
                lasts = 0.004 if hit else self._seconds(0.34 * load)
                start = began if "parallel_tools" in does else at
                spans.append(
                    self._span(
                        trace,
                        self._id(),
                        root,
                        f"execute_tool {tool}",
                        start,
                        lasts,
                        self._tool(tool, call, talk, called),
                    )
                )
                at = max(at, start + int(lasts * SECOND))
                context += int(420 * smaller)
            context += 160

        model(TOOLS[command])
        if command != "/refund":
            model((TOOLS[command][0], "get_customer"))
        model(())
        failed = self.random.random() < (0.34 if harmed else 0.05)
        attributes: dict[str, Any] = {
            c.STEP_KIND: "command",
            c.COMMAND_NAME: command,
            c.GEN_AI_CONVERSATION_ID: talk,
            c.USER_ID: f"user-{self._talks % 90}",
        }
        for name, (one, arm) in mine.items():
            if arm is not None:
                said = {c.POLICY_ARM: arm, c.POLICY_DIGEST: one.digest, c.POLICY_STAGE: one.stage}
                said |= {c.POLICY_ALLOCATION: one.allocation.treatment_share}
                attributes |= {c.policy_attribute(name, key): value for key, value in said.items()}
        span = self._span(trace, root, "", f"command {command}", begun, (at - begun) / SECOND, attributes)
        if failed:
            span["status"] = {"code": 2}
        score = min(5.0, max(1.0, self.random.gauss(4.3, 0.4) - 1.4 * failed))
        span["events"] = [self._judgement(at, round(score, 1))]
        self._keep([span, *spans])
        return at, context

    def _keep(self, spans: list[dict[str, Any]]) -> None:
        resource = {"attributes": _typed({c.SERVICE_NAME: "shop-support", c.SERVICE_VERSION: self.release})}
        scope = {"scope": {"name": c.INSTRUMENTATION_SCOPE}, "spans": spans}
        self._lines.append(json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}) + "\n")

    def _span(
        self, trace: str, span: str, parent: str, name: str, start: int, took: float, said: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "traceId": trace,
            "spanId": span,
            "parentSpanId": parent,
            "name": name,
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + int(took * SECOND)),
            "attributes": _typed(said),
            "status": {},
        }

    def _model(self, context: int) -> dict[str, Any]:
        sent = int(context * self.random.uniform(0.97, 1.03))
        return {
            c.GEN_AI_OPERATION_NAME: "chat",
            c.GEN_AI_REQUEST_MODEL: "shop-model",
            c.GEN_AI_USAGE_INPUT_TOKENS: sent,
            c.GEN_AI_USAGE_OUTPUT_TOKENS: self.random.randint(40, 220),
            c.CONTEXT_RESENT_TOKENS: int(0.8 * sent),
        }

    def _tool(self, tool: str, call: str, talk: str, asked_by: str) -> dict[str, Any]:
        digest = f"{tool}-{talk}"
        return {
            c.GEN_AI_OPERATION_NAME: "execute_tool",
            c.GEN_AI_TOOL_NAME: tool,
            c.GEN_AI_TOOL_CALL_ID: call,
            c.REQUESTED_BY: asked_by,
            c.TOOL_EFFECTS: "read",
            c.ARGUMENTS_DIGEST: digest,
            c.RESULT_DIGEST: f"result-{digest}",
            c.DATAFLOW_INPUTS: [f"in-{digest}"],
            c.DATAFLOW_OUTPUTS: [f"out-{digest}"],
            c.RESULT_TOKENS: 420,
        }

    @staticmethod
    def _judgement(at: int, score: float) -> dict[str, Any]:
        said = {c.GEN_AI_EVALUATION_NAME: "satisfaction", c.GEN_AI_EVALUATION_SCORE_VALUE: score}
        return {"name": c.GEN_AI_EVALUATION_RESULT_EVENT, "timeUnixNano": str(at), "attributes": _typed(said)}

    def _seconds(self, middle: float) -> float:
        return middle * self.random.lognormvariate(0, 0.28)

    def _id(self) -> str:
        self._spans += 1
        return f"{self._spans:016x}"

    def _poisson(self, mean: float) -> int:
        limit, product, drawn = math.exp(-mean), self.random.random(), 0
        while product > limit:
            product *= self.random.random()
            drawn += 1
        return drawn


def prepared_home(
    home: Path, *, days: int = 14, talks_an_hour: float = 8.0, talks: int = 1000, compared: int = 14
) -> int:
    """Fill a home folder and return the Unix time (ns) at which its story ends.

    One policy is active, one is compared (for so many turns of 25 conversations), one was taken back, and
    what else was found waits.
    """
    shop = Shop(home)
    # As many conversations an hour with policies in force as before.
    every_s = 3600 / talks_an_hour
    shop.history(days, talks_an_hour)
    controller = Controller(home, shop.clock)
    analysis = analyse(RecordedExecutions(open_recorded([home / "telemetry"])))
    written = controller.policies.propose(analysis.findings[:12], shop.now_ns, rollout=ROLLOUT, guardrails=GUARDRAILS)
    first = next(one for one in written if one.policy.spec.optimize.type == "parallel_tools")
    controller.policies.approve(first.name, "maria", "reads only; the roll-back is automatic", shop.now_ns, "canary")
    controller.turn()
    _until(shop, controller, first.name, State.ACTIVE, talks, every_s)
    _declare(controller, shop, "generous-cache", HARMFUL)
    controller.policies.approve("generous-cache", "jonas", "approved in a hurry", shop.now_ns, "canary")
    _until(shop, controller, "generous-cache", State.ROLLED_BACK, talks, every_s)
    _declare(controller, shop, "shorter-results", COMPRESSION)
    controller.policies.approve(
        "shorter-results", "maria", "results are long, and few of them are read", shop.now_ns, "canary"
    )
    for _ in range(compared):
        _turn(shop, controller, every_s)
    controller.observatory.save()
    return shop.now_ns


def _declare(controller: Controller, shop: Shop, name: str, text: str) -> None:
    (controller.policies.home / "policies" / f"{name}.yaml").write_text(text, encoding="utf-8")
    controller.policies.reload(shop.now_ns)


def _until(shop: Shop, controller: Controller, name: str, wanted: State, talks: int, every_s: float) -> None:
    for _ in range(talks // 25):
        status = controller.policies.status(name, shop.now_ns)
        if status.state.state is wanted:
            return
        verdict = _turn(shop, controller, every_s)
        if status.pending_gate == "active" and verdict.get(name) == "better":
            controller.policies.approve(name, "maria", "better, with every guardrail held", shop.now_ns, "active")
    raise RuntimeError(f"{name} did not become {wanted}: {controller.policies.status(name, shop.now_ns).state}")


def _turn(shop: Shop, controller: Controller, every_s: float) -> dict[str, str]:
    controller.turn()
    shop.obey(25, every_s)
    # A command's last spans are read a little after it ended.
    shop.now_ns += 20 * SECOND
    turn = controller.turn()
    return {name: standing.observation.conclusion for name, standing in turn.standings.items()}


def _busy(hour: float) -> float:
    """Return how busy the shop is at an hour since the start: most in the afternoon, hardly at night."""
    return 1 + 0.75 * math.sin(2 * math.pi * (hour % 24 - 9) / 24)


def _typed(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in said.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
