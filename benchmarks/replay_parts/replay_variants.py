"""What is tried on recorded agents: a data set's half in, the decisions of each variant out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from replay_parts.recorded_turn import Conversation

from otel_perfopt.analyse.context_rules import CHARS_PER_TOKEN, KEPT_TOKENS
from otel_perfopt.analyse.preload_rule import MinedPreloadRule
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.decide.optimizations.preload import PreloadParameters
from otel_perfopt.execution.model import Target

TOOLS = ("tool_cache", "parallel_tools", "preload")
# The most generous cache of replies that stays within one conversation: whatever the temperature, tool calls too.
GENEROUS = {"any_temperature": True, "tool_calls": True}
# Of a longer result only the beginning and the end are sent. This loses something, and no what-if supposes it.
CUT_CHARS = KEPT_TOKENS * CHARS_PER_TOKEN
CUT = {"context_compression": {"max_chars": CUT_CHARS}}
PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "tool_cache": {"ttl_s": 300.0, "scope": "conversation"},
    "response_cache": GENEROUS,
}


@dataclass(frozen=True)
class Variant:
    """One row: the optimizations in force together. `marked`: at a provider that caches only what is marked."""

    name: str
    optimizations: tuple[str, ...] = ()
    marked: bool = False
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def variants_of(optimizations: Sequence[str], *, marked: bool, apart: Sequence[str] = ()) -> list[Variant]:
    """Return the baselines, each optimization alone, and all together but those that stand apart."""
    together = tuple(name for name in optimizations if name not in apart)
    found = [Variant("baseline")]
    found += [Variant(name, (name,)) for name in optimizations]
    if "context_compression" in optimizations:
        found.append(Variant(f"long results cut at {CUT_CHARS:,}", ("context_compression",), parameters=CUT))
    found.append(Variant("all together", together))
    if marked:
        found.insert(1, Variant("baseline, marked", marked=True))
        found.append(Variant("prompt_cache, marked", ("prompt_cache",), marked=True))
        found.append(Variant("all, marked", together, marked=True))
    return found


def preload_rules(learnt_from: Iterable[Conversation]) -> dict[str, list[dict[str, Any]]]:
    """Return by command the rules that the analysis mines from these conversations."""
    rule, commands = MinedPreloadRule(), set()
    for conversation in learnt_from:
        for turn in conversation.turns:
            rule.imagine(RunView(turn.execution))
            commands.add(turn.execution.command.name)
    found = {command: rule.parameters(Target(command=command)).get("rules", []) for command in sorted(commands)}
    return {command: rules for command, rules in found.items() if isinstance(rules, list) and rules}


def snapshot_of(
    variant: Variant,
    conversations: Sequence[Conversation],
    rules: Mapping[str, list[dict[str, Any]]],
    own: Mapping[str, Mapping[str, Any]],
) -> Snapshot:
    """Return the snapshot of a variant; `own` are the data set's parameters by optimization."""
    effects = {call.tool: call.effects for conversation in conversations for call in conversation.calls}
    decisions: list[Decision] = []
    for name in variant.optimizations:
        parameters = {**PARAMETERS.get(name, {}), **own.get(name, {}), **variant.parameters.get(name, {})}
        if name == "preload":
            decisions += [
                _decision(f"preload-{place}", "preload", _published(found), effects, command)
                for place, (command, found) in enumerate(rules.items())
            ]
        else:
            decisions.append(_decision(name.replace("_", "-"), name, parameters, effects))
    return Snapshot(1, time.time_ns(), 1e9, decisions=tuple(decisions))


def _published(rules: list[dict[str, Any]]) -> Mapping[str, object]:
    return PreloadParameters.model_validate({"rules": rules}).published()


def _decision(
    policy: str, optimization: str, parameters: Mapping[str, object], effects: Mapping[str, str], command: str = "*"
) -> Decision:
    match = Match(command=(command,), tool_effects=("read",) if optimization in TOOLS else ())
    return Decision(policy, "d", optimization, "active", Allocation(treatment=1.0), parameters, match, effects=effects)
