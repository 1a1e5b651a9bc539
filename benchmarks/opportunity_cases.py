"""What `opportunity_truth` puts to the test: an optimization and a recording to learn from in, its decisions and prediction out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from otel_perfopt.analyse.combined_saving import saved_by
from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.opportunity import RULES
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.units import ratio_interval
from otel_perfopt.analyse.what_if import INPUT_TOKENS, LATENCY, WhatIfRule
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match
from otel_perfopt.decide.optimizations.preload import PreloadParameters
from otel_perfopt.decide.optimizations.response_cache import ResponseCacheParameters
from otel_perfopt.decide.optimizations.selective_context import SelectiveContextParameters
from otel_perfopt.demo.fleet import EFFECTS
from otel_perfopt.execution.model import Execution, Target
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.signal.read.recorded import open_recorded

Decide = Callable[[WhatIfRule, Sequence[str]], list[Decision]]


@dataclass(frozen=True)
class Case:
    """One optimization: what it saves (`metric`), and how its decisions come about.

    With `learns` the rule sees an earlier recording first, and both the decisions and the prediction are
    what it says then; without, the decision is for everything, and so is the prediction, whether or not the rule
    would propose it (a tool whose results change is cached here too). With `repeats` each conversation is held twice in one process, and only questions are asked.
    """

    optimization: str
    metric: str
    decide: Decide
    learns: bool = False
    repeats: bool = False


def decision(optimization: str, parameters: Mapping[str, object], command: str = "", **match: Any) -> Decision:
    """Return a decision that is in force for every conversation."""
    return Decision(
        policy=f"{optimization}{command.replace('/', '-')}",
        digest="0" * 16,
        optimization=optimization,
        stage="active",
        allocation=Allocation(treatment=1.0),
        parameters=parameters,
        match=Match(command=(command,) if command else (), **match),
        effects=EFFECTS,
    )


def _fixed(optimization: str, parameters: Mapping[str, object]) -> Decide:
    return lambda _rule, _commands: [decision(optimization, parameters, tool_effects=("read",))]


def _learned(optimization: str, model: Any, given: Mapping[str, object] = MappingProxyType({}), **match: Any) -> Decide:
    def decide(rule: WhatIfRule, commands: Sequence[str]) -> list[Decision]:
        asked = {command: rule.parameters(Target(command=command)) for command in commands}
        return [
            decision(optimization, model.model_validate({**parameters, **given}).published(), command, **match)
            for command, parameters in asked.items()
            if parameters and rule.safe(Target(command=command))
        ]

    return decide


def _cached(rule: WhatIfRule, commands: Sequence[str]) -> list[Decision]:
    del rule, commands
    parameters = ResponseCacheParameters.model_validate({"ttl": "5m", "anyTemperature": True, "toolCalls": True})
    return [decision("response_cache", parameters.published())]


CASES = (
    Case("tool_cache", LATENCY, _fixed("tool_cache", {"ttl_s": 300.0, "scope": "conversation"})),
    Case("parallel_tools", LATENCY, _fixed("parallel_tools", {"max_concurrency": 8})),
    Case("preload", LATENCY, _learned("preload", PreloadParameters, tool_effects=("read",)), learns=True),
    # The prediction is of tools; sections of the instructions would wait as well, which no replay sees.
    Case(
        "selective_context",
        INPUT_TOKENS,
        _learned("selective_context", SelectiveContextParameters, {"under": []}),
        learns=True,
    ),
    Case("response_cache", LATENCY, _cached, repeats=True),
)


def rule_of(case: Case) -> WhatIfRule:
    """Return the case's rule, knowing nothing yet."""
    rules = [make() for make in RULES]
    return next(rule for rule in rules if rule.optimization == case.optimization and not rule.upper_bound)


def runs_of(home: Path) -> list[Execution]:
    """Return the finished runs of a recording, in order of start."""
    found = RecordedExecutions(open_recorded([home / "telemetry"])).executions()
    return sorted((run for run in found if run.finished), key=lambda run: run.command.start_ns)


def teach(rule: WhatIfRule, runs: Iterable[Execution]) -> None:
    """Show a rule runs of which nothing is predicted."""
    for run in runs:
        rule.imagine(RunView(run))


def predicted(
    rule: WhatIfRule, runs: Sequence[Execution], *, everything: bool = False
) -> tuple[Interval | None, Interval]:
    """Return the saving on all targets together, as a share of all that was spent, and its bound.

    Of `everything`, or only of targets where nothing speaks against it.
    """
    saved: dict[str, float] = defaultdict(float)
    most: dict[str, float] = defaultdict(float)
    imagined: list[tuple[Target, str, float]] = []
    repetitions = Repetitions()
    for run in runs:
        view = RunView(run)
        view.repetition = repetitions.observe(run)
        for what_if in rule.imagine(view):
            bound = what_if.bound_ns / 1e9 if rule.metric == LATENCY else float(what_if.bound_tokens)
            most[run.conversation_id] += bound
            if what_if.calls:
                imagined.append((what_if.target, run.conversation_id, saved_by(view, what_if, rule.metric)))
    for target, conversation, amount in imagined:
        if everything or rule.safe(target):
            saved[conversation] += amount
    wholes = spent(runs, rule.metric)
    return share(saved, wholes) if any(saved.values()) else None, share(most, wholes)


def spent(runs: Iterable[Execution], metric: str) -> Mapping[str, float]:
    """Return each conversation's seconds, or its input tokens."""
    found: dict[str, float] = defaultdict(float)
    for run in runs:
        found[run.conversation_id] += run.duration_s if metric == LATENCY else float(run.tokens.input or 0)
    return found


def share(parts: Mapping[str, float], wholes: Mapping[str, float]) -> Interval:
    """Return the parts over the wholes with a bootstrap interval over conversations."""
    names = sorted(wholes)
    return ratio_interval(
        np.array([parts.get(name, 0.0) for name in names]), np.array([wholes[name] for name in names])
    )
