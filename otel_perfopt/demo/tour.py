"""The tour through the whole loop on the example agent: a folder and a screen in, measured improvements out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.text import Text

from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.decide.approval import identity
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.proposal import Proposal
from otel_perfopt.decide.state import State
from otel_perfopt.demo.fleet import PROCESSES, Fleet, Traffic, backends
from otel_perfopt.demo.improvement import improvement_table, proposal_table
from otel_perfopt.demo.screen import Screen
from otel_perfopt.errors import PerfoptError
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.loop.controller import Controller, Turn
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.measure.home_prices import PRICES_FILE, prices_of
from otel_perfopt.report.html import report_html
from otel_perfopt.report.overview import findings as findings_section
from otel_perfopt.report.standing import policy_table
from otel_perfopt.report.terminal import render_section
from otel_perfopt.report.wording import digest as short_digest
from otel_perfopt.signal.read.recorded import open_recorded

BASELINE_CONVERSATIONS = 60
TURN_S = 1.5
LOOK_S = 0.3
CANARY_LIMIT_S = 75.0
HARM_LIMIT_S = 45.0
HARMFUL = "generous-cache"
# A minute of the example's traffic stands for days of real traffic, so everything that waits waits less.
QUICK_LIMITS = {"minUnits": 260, "maxUnits": 3000, "maxDuration": "10m"}
QUICK_STEPS = [{"shadow": "6s"}, {"treatment": "50%", "baseline": "50%"}]
QUICK_ROLLOUT = {"warmup": "0s", "steps": QUICK_STEPS, "limits": QUICK_LIMITS}
QUICK_GUARDRAILS = (
    {"metric": "task_failure", "maxIncrease": "15pp"},
    {"metric": "latency_p95_exceed", "maxIncrease": "10pp"},
    {"metric": "cost_usd", "maxIncrease": "20%"},
)
# A tenth that is not shown to be kept takes 30 conversations to rule out, the 2 % that are usual take 165.
QUICK_RETENTION = {"warmup": "0s", "steps": QUICK_STEPS, "limits": {**QUICK_LIMITS, "minRetained": "90%"}}
# What the local model would cost if somebody sold it, so that cost can be guarded too.
PRICES = {"as_of": "example", "models": {"support-model": {"input": 1.0, "output": 4.0, "cache_read": 0.1}}}
SHOWN = frozenset({"tool_cache", "parallel_tools", "selective_context"})


@dataclass(slots=True)
class Tour:
    """One run of the demo in one folder."""

    folder: Path
    screen: Screen
    confirm: Callable[[str], bool]

    @property
    def home(self) -> Path:
        """The home folder of the demo's agents."""
        return self.folder / "home"

    @property
    def report_path(self) -> Path:
        """Where the report on the baseline is written."""
        return self.folder / "report.html"

    def run(self) -> None:
        """Go through every phase.

        Raises:
            PerfoptError: a phase did not come out as it must; the message says which and how.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / PRICES_FILE).write_text(json.dumps(PRICES, indent=1), encoding="utf-8")
        with ExitStack() as stack:
            backend = stack.enter_context(backends(self.folder / "shop"))
            fleet = Fleet(self.home, backend, self.folder)
            traffic = stack.enter_context(fleet.traffic())
            self._baseline(traffic)
            analysis = self._analyse()
            controller = Controller(self.home)
            proposals = self._propose(controller, analysis)
            self._canary(controller, traffic, proposals)
            self._harm(controller, traffic)
        self._end(controller, proposals)

    def _baseline(self, traffic: Traffic) -> None:
        explanation = f"{PROCESSES} processes of an unchanged agent; instrumentation on, nothing optimized."
        self.screen.phase("An agent at work", explanation)
        with self.screen.progress("conversations", BASELINE_CONVERSATIONS * 2) as advance_to:
            while (done := len(traffic.outcomes())) < BASELINE_CONVERSATIONS * 2:
                traffic.check()
                advance_to(done)
                time.sleep(LOOK_S)
        outcomes = traffic.outcomes()
        wrong = sum(not outcome.ok for outcome in outcomes)
        self.screen.say(f"{len(outcomes)} commands, {wrong} of them failed or were answered wrongly.")

    def _analyse(self) -> Analysis:
        self.screen.phase("Analysis", "Where the time goes, what is wasted, and what acting on it would save.")
        analysis = analyse(
            RecordedExecutions(open_recorded([self.home / TELEMETRY_FOLDER])), prices=prices_of(self.home)
        )
        self.report_path.write_text(report_html(analysis, title="The demo's agents before"), encoding="utf-8")
        self.screen.show(render_section(findings_section(analysis, most=6)))
        return analysis

    def _propose(self, controller: Controller, analysis: Analysis) -> Sequence[Proposal]:
        self.screen.phase("Proposals", "Policies in YAML with their predicted effect; nothing happens unapproved.")
        wanted = [finding for finding in analysis.findings if _acts(finding.suggestion)]
        written: list[Proposal] = []
        for shortens, rollout in ((False, QUICK_ROLLOUT), (True, QUICK_RETENTION)):
            findings = [finding for finding in wanted if _shortens(finding.suggestion) is shortens]
            written += controller.policies.propose(
                findings, time.time_ns(), rollout=rollout, guardrails=QUICK_GUARDRAILS
            )
        if not written:
            raise PerfoptError("the analysis proposed nothing; this run had too little traffic, try again")
        self.screen.show(proposal_table(written))
        chosen = _one_of_each_type(written)
        others = len(written) - len(chosen)
        self.screen.say(f"{len(chosen)} of them are tried here; {others} others wait in their files.")
        for proposal in chosen:
            self.screen.policy(proposal.file, proposal.text)
        for proposal in chosen:
            self._approve(controller, proposal.name, "canary", "taken back by itself if it harms")
        return chosen

    def _approve(self, controller: Controller, name: str, gate: str, reason: str) -> None:
        if not self.confirm(f"Approve {name} for {gate}?"):
            controller.policies.reject(name, identity(), "said no in the demo", time.time_ns())
            self.screen.say(f"{name} rejected.")
            return
        given = controller.policies.approve(name, identity(), reason, time.time_ns(), gate)
        self.screen.say(f"{name}: {gate} approved by {given.approver} for digest {short_digest(given.digest)}", "green")

    def _canary(self, controller: Controller, traffic: Traffic, proposals: Sequence[Proposal]) -> None:
        self.screen.phase(
            "Canary", "Half of the conversations are treated, the others beside them are not; both are measured."
        )
        names = {proposal.name for proposal in proposals}

        def settled(turn: Turn) -> bool:
            for name in names:
                status = controller.policies.status(name, turn.now_ns)
                standing = turn.standings.get(name)
                better = standing is not None and standing.observation.conclusion == "better"
                if better and status.state.state is State.CANARY and not status.state.approved("active", turn.now_ns):
                    self._approve(controller, name, "active", "better, with every guardrail held")
            return not any(self._under_way(controller, name, turn) for name in names)

        self._turns(controller, traffic, settled, CANARY_LIMIT_S)

    @staticmethod
    def _under_way(controller: Controller, name: str, turn: Turn) -> bool:
        state = controller.policies.status(name, turn.now_ns).state.state
        return state in {State.PROPOSED, State.AWAITING, State.SHADOW, State.CANARY}

    def _harm(self, controller: Controller, traffic: Traffic) -> None:
        self.screen.phase("A harmful policy", "Somebody caches customers and orders that other people change.")
        text = resources.files("otel_perfopt.demo").joinpath("harmful.yaml").read_text(encoding="utf-8")
        path = self.home / "policies" / f"{HARMFUL}.yaml"
        path.write_text(text, encoding="utf-8")
        self.screen.policy(str(path.relative_to(self.folder)), text)
        controller.policies.reload(time.time_ns())
        self._approve(controller, HARMFUL, "canary", "approved by mistake")

        def over(turn: Turn) -> bool:
            return not self._under_way(controller, HARMFUL, turn)

        self._turns(controller, traffic, over, HARM_LIMIT_S)
        status = controller.policies.status(HARMFUL, time.time_ns())
        if status.state.state not in {State.ROLLED_BACK, State.REJECTED}:
            raise PerfoptError(
                f"the harmful policy was not taken back within {HARM_LIMIT_S:.0f} s: {status.state.state}"
            )
        self._tell_how_fast(controller)

    def _tell_how_fast(self, controller: Controller) -> None:
        own = [entry for entry in controller.policies.ledger.entries if entry.policy == HARMFUL]
        moments = {entry.event: entry.time_ns for entry in own}
        if {"expose", "rollback"} <= moments.keys():
            seconds = (moments["rollback"] - moments["expose"]) / 1e9
            self.screen.say(
                f"{HARMFUL} was taken back {seconds:.0f} s after it came into force, by nobody's hand.", "bold"
            )

    def _turns(self, controller: Controller, traffic: Traffic, done: Callable[[Turn], bool], limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        with self.screen.live() as live:
            while time.monotonic() < deadline:
                traffic.check()
                turn = controller.turn()
                self.screen.transitions(turn.transitions)
                shown = [status for status in controller.policies.statuses(turn.now_ns) if status.state.stage]
                live.update(policy_table(shown, turn.standings) if shown else Text("…"))
                if done(turn):
                    return
                time.sleep(TURN_S)
        self.screen.say(f"No more is decided in {limit_s:.0f} s; the comparison would go on.", "yellow")

    def _end(self, controller: Controller, proposals: Sequence[Proposal]) -> None:
        self.screen.phase(
            "What came of it", "Measured in this run, treatment beside baseline; intervals hold at any look."
        )
        turn = controller.turn()
        statuses = {status.name: status for status in controller.policies.statuses(turn.now_ns)}
        self.screen.show(improvement_table(proposals, statuses, turn.standings))
        self.screen.ledger(controller.policies.ledger.entries)
        self.screen.say(f"report:  {self.report_path}")
        self.screen.say(f"look on: perfopt status --home {self.home}   perfopt ledger show --home {self.home}")


def _one_of_each_type(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Return what a person might try first: of each optimization the best one, each goal once a command.

    Two with one goal on one command are compared properly too, but each then hides part of what the other saves.
    """
    chosen: list[Proposal] = []
    for kind in sorted({proposal.policy.spec.optimize.type for proposal in proposals}, reverse=True):
        taken = {aim for proposal in chosen for aim in _aims(proposal)}
        of_kind = [proposal for proposal in proposals if proposal.policy.spec.optimize.type == kind]
        free = [proposal for proposal in of_kind if not taken & _aims(proposal)]
        chosen += sorted(free, key=_predicted, reverse=True)[:1]
    return chosen


def _aims(proposal: Proposal) -> set[tuple[str, str]]:
    spec = proposal.policy.spec
    return {(spec.goal.metric, command) for command in spec.match.command}


def _predicted(proposal: Proposal) -> float:
    return proposal.predicted.estimate if proposal.predicted else 0.0


def _shortens(suggestion: object) -> bool:
    return OPTIMIZATION_TYPES[getattr(suggestion, "optimization", "")].shortens_context


def _acts(suggestion: object) -> bool:
    return getattr(suggestion, "optimization", "") in SHOWN
