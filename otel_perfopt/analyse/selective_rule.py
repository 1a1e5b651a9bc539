"""What not describing unused tools would have saved: a `RunView` in, `WhatIf`s in input tokens out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.context_rules import own_calls, stated_tokens
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.what_if import INPUT_TOKENS, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.execution.model import Step, Target

MIN_RUNS_SEEN = 20
MAX_TOOLS = 1000
MAX_SURPRISES = 0.01


@dataclass(slots=True)
class _Command:
    """A command's runs, the tools they used and were offered, and how many needed one that none before had used."""

    runs: int = 0
    surprises: int = 0
    used: set[str] = field(default_factory=set)
    offered: set[str] = field(default_factory=set)


class SelectiveContextRule(PlainRule):
    """Tools that no earlier run of the command had used are not described to the model.

    Which those are is decided before each run, from the runs before it (twenty at least). A run
    that then uses another one needs it, and saves nothing. The bound leaves out all that the run did
    not use. Nothing is said where calls do not state how many tools were offered and how long that is.
    """

    optimization = "selective_context"
    metric = INPUT_TOKENS

    def __init__(self) -> None:
        self._commands: BoundedTable[str, _Command] = BoundedTable(_Command, overflow=OTHER, limit=200)

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command."""
        command = self._commands[run.execution.command.name]
        now = {step.name for step in run.tools}
        seen, foreseen = command.runs >= MIN_RUNS_SEEN, now <= command.used
        saved: dict[str, int] = {}
        bound = 0
        for step in own_calls(run):
            bound += _spared(step, now)
            if seen and foreseen:
                saved[step.span_id] = _spared(step, command.used)
            _take_offered(command, step)
        command.surprises += seen and not foreseen
        command.runs += 1
        if len(command.used) < MAX_TOOLS:
            command.used |= now
        if not bound:
            return ()
        calls = tuple(step for step in run.inferences if saved.get(step.span_id))
        return (WhatIf(Target(command=run.execution.command.name), calls=calls, tokens=saved, bound_tokens=bound),)

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return the tools not to describe; reference sections wait as well, and what that spares comes on top."""
        command = self._commands.rows.get(target.command)
        unused = sorted(command.offered - command.used)[:200] if command is not None else []
        return {"dropTools": unused} if unused else {}

    def safe(self, target: Target) -> bool:
        """Tell whether at most one run in a hundred needed a tool that none before it had used."""
        command = self._commands.rows.get(target.command)
        return command is not None and command.surprises <= MAX_SURPRISES * max(0, command.runs - MIN_RUNS_SEEN)


def _take_offered(command: _Command, step: Step) -> None:
    if len(command.offered) < MAX_TOOLS:
        command.offered.update(name for name, _ in _described(step))


def _spared(step: Step, needed: set[str]) -> int:
    """Return the tokens that describe other tools than those needed."""
    offered, tokens = stated_tokens(step, c.TOOLS_OFFERED), stated_tokens(step, c.TOOLS_OFFERED_TOKENS)
    if not offered or not tokens:
        return 0
    described = _described(step)
    if len(described) < offered:
        return round(tokens * max(0.0, 1 - len(needed) / offered))
    # A request without any tool may mean something else, so one stays.
    kept = [length for name, length in described if name in needed] or [min(length for _, length in described)]
    return tokens - sum(kept)


def _described(step: Step) -> list[tuple[str, int]]:
    stated = step.attributes.get(c.TOOLS_DESCRIBED)
    if not isinstance(stated, Sequence) or isinstance(stated, str):
        return []
    pairs = (str(item).rpartition("=") for item in stated)
    return [(name, int(length)) for name, _, length in pairs if length.isdigit()]
