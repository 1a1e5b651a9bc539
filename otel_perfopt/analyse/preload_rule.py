"""What calls foreseen from earlier runs would have saved: a `RunView` in, `WhatIf`s in time out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.call_leaves import leaves_stated
from otel_perfopt.analyse.call_miner import CallMiner, MinedCall, Prediction
from otel_perfopt.analyse.opening_miner import OpeningGuess, OpeningMiner
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.what_if import LATENCY, WhatIf
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.execution.model import Step, Target, ToolEffects
from otel_perfopt.execution.schedule import Changes

# Below this share of used calls, making them early costs more than it saves.
MIN_PRECISION = 0.5


class MinedPreloadRule:
    """A read that a rule mined from the runs before this one foresees starts when the call before it has ended.

    Likewise the reads that open a run, when the run before it in its conversation foretells them.

    Guesses that were wrong are counted as wasted; a command where most are wasted is left alone.
    Nothing is said where spans do not state the leaves of arguments and results.
    """

    optimization = "preload"
    metric = LATENCY
    upper_bound = False

    def __init__(self) -> None:
        self._miners: BoundedTable[str, CallMiner] = BoundedTable(CallMiner, overflow=OTHER, limit=100)
        self._openings = OpeningMiner()
        self._guesses: Counter[tuple[str, bool]] = Counter()

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for the run's command; the bound is all its reads for nothing."""
        execution, command = run.execution, run.execution.command.name
        steps = [step for step in run.tools if _is_mined(step)]
        calls = [mined_call(step) for step in steps]
        openings = self._openings.observe(execution.conversation_id, command, calls, ended_ns=execution.command.end_ns)
        for opening in openings:
            self._guesses[opening.command, opening.hit is not None] += 1
        if len(steps) < 2:
            return ()
        guesses = self._miners[command].observe(calls)
        hits = [guess for guess in guesses if guess.hit is not None]
        self._guesses[command, True] += len(hits)
        self._guesses[command, False] += len(guesses) - len(hits)
        return (_what_if(run, steps, hits, openings),)

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return the table of rules that a preload of the target's calls would go by."""
        miner = self._miners.rows.get(target.command)
        within = () if miner is None else miner.rules()
        openings = self._openings.rules(target.command) if target.command else ()
        rules = [*(rule.to_json() for rule in openings), *(rule.to_json() for rule in within)]
        return {"rules": rules} if rules else {}

    def safe(self, target: Target) -> bool:
        """Tell whether at least half of the calls made early would surely have been used."""
        right, wrong = (self._guesses[target.command, used] for used in (True, False))
        precision = wilson(right, right + wrong)
        return precision is not None and precision.low >= MIN_PRECISION


def mined_call(step: Step) -> MinedCall:
    """Return a recorded call as the miner sees it."""
    arguments, result = leaves_stated(step)
    reads = step.effects is ToolEffects.READ
    return MinedCall(step.name, arguments, result, step.requested_by, reads, step.span_id)


def _is_mined(step: Step) -> bool:
    # A call that was made ahead of the agent's own is no sign that the agent wants it.
    ahead = step.attributes.get(c.SPECULATIVE) and not step.requested_by and not step.attributes.get(c.CACHE_HIT)
    return not ahead and any(leaves_stated(step))


def _what_if(
    run: RunView, steps: Sequence[Step], hits: Sequence[Prediction], openings: Sequence[OpeningGuess]
) -> WhatIf:
    # What was read before the run began is there when it begins.
    command_id = run.execution.command.span_id
    starts = {steps[guess.hit].span_id: command_id for guess in openings if guess.hit is not None}
    for guess in hits:
        if guess.hit is not None:
            # Of several guesses of one call the earliest starts it.
            starts.setdefault(steps[guess.hit].span_id, steps[guess.place].span_id)
    calls = tuple(step for step in steps if step.span_id in starts)
    reads = [step for step in run.tools if step.effects is ToolEffects.READ]
    return WhatIf(Target(command=run.execution.command.name), Changes(starts_after=starts), run.waited_ns(reads), calls)
