"""What second tries of slow model calls and of failed reads would have saved: a `RunView` in, `WhatIf`s in time out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.call_speed import MIN_CALLS, CallSpeed
from otel_perfopt.analyse.failed_reads import DEFAULT_BUDGET, RETRIES, FailedRead, FailedReads, failed_reads
from otel_perfopt.analyse.rate_limited import is_rate_limited
from otel_perfopt.analyse.recent_values import RecentValues
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER, model_of
from otel_perfopt.analyse.what_if import LATENCY, WhatIf
from otel_perfopt.analyse.what_if_rule import PlainRule
from otel_perfopt.execution.model import Step, Target
from otel_perfopt.execution.schedule import Changes

# As `retry_hedge` does it unless a policy says otherwise.
QUANTILE = 0.95
BUDGET = DEFAULT_BUDGET
MEAN_BACKOFF_S = 0.25
REMEMBERED = 500
_MOST_SAVED = 10.0
MAX_REFUSED = 0.01


@dataclass(slots=True)
class _Kind:
    """The calls of one model so far; `saved_up` are the twins that the budget still allows."""

    speed: CallSpeed = field(default_factory=CallSpeed)
    durations: RecentValues = field(default_factory=lambda: RecentValues(REMEMBERED))
    saved_up: float = BUDGET * _MOST_SAVED

    def patience_s(self) -> float | None:
        """Return how long a call may take before it gets a twin."""
        known = self.durations.sorted
        if len(known) < MIN_CALLS:
            return None
        return known[min(len(known) - 1, int(QUANTILE * len(known)))]


class RetryHedgeRule(PlainRule):
    """A call slower than 95 % of its model's gets a twin then, which takes as long as calls lately took for its length.

    Twins are at most a twentieth of all calls. Streams get none. The bound is all the time beyond what
    calls of that length take on average.

    A read that failed, and went well when the model asked for it again, is made again at once: the model's turns
    between the two are spared, but for the wait. The bound is all those turns, after however many failures.
    """

    optimization = "retry_hedge"
    metric = LATENCY

    def __init__(self) -> None:
        self._kinds: BoundedTable[str, _Kind] = BoundedTable(_Kind, overflow=OTHER, limit=100)
        self._calls: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._reads = FailedReads()

    def imagine(self, run: RunView) -> Sequence[WhatIf]:
        """Return one what-if for each model of the run, and for each of its tools of which a read has failed so far."""
        self._reads.observe(run)
        return (*self._of_models(run), *self._of_tools(run)) if run.execution.timed else ()

    def parameters(self, target: Target) -> Mapping[str, object]:
        """Return what the failures of a tool need beside the defaults; nothing for a model."""
        return self._reads.parameters(target.tool) if target.tool else {}

    def _of_models(self, run: RunView) -> list[WhatIf]:
        changed: dict[str, dict[str, int]] = {}
        slow: dict[str, list[Step]] = {}
        bounds: Counter[str] = Counter()
        for step in run.inferences:
            model = model_of(step)
            self._calls[model] += 1
            self._refused[model] += is_rate_limited(step)
            if step.error_type is not None or step.attributes.get(c.GEN_AI_REQUEST_STREAM) or step.duration_s <= 0:
                continue
            bounds[model] += self._excess_ns(run, step)
            twin_s = self._with_twin_s(step)
            if twin_s is not None:
                changed.setdefault(model, {})[step.span_id] = round(twin_s * 1e9)
                slow.setdefault(model, []).append(step)
        command = run.execution.command.name
        return [
            WhatIf(
                Target(command=command, model=model), Changes(changed.get(model, {})), bound, tuple(slow.get(model, ()))
            )
            for model, bound in bounds.items()
        ]

    def safe(self, target: Target) -> bool:
        """Tell whether the model refused at most one call in a hundred: second tries are load that refusals flee.

        For a tool, whether its reads do go well when they are asked for again.
        """
        if target.tool:
            return self._reads.mended(target.tool) is not None
        return self._refused[target.model] <= MAX_REFUSED * self._calls[target.model]

    def _of_tools(self, run: RunView) -> list[WhatIf]:
        command = run.execution.command.name
        found: dict[str, list[list[FailedRead]]] = {}
        for step in run.tools:
            if self._reads.has_failed(step.name):
                found.setdefault(step.name, [])
        for chain in _mended_chains(run.derive(failed_reads)) if found else ():
            found.setdefault(chain[0].step.name, []).append(chain)
        return [_spared(run, Target(command=command, tool=tool), chains) for tool, chains in found.items()]

    def _excess_ns(self, run: RunView, step: Step) -> int:
        expected = self._kinds[model_of(step)].speed.expected_s(step)
        if expected is None or expected >= step.duration_s:
            return 0
        return round(run.critical_ns.get(step.span_id, 0) * (1 - expected / step.duration_s))

    def _with_twin_s(self, step: Step) -> float | None:
        """Return how long the call takes on average with a twin where it would get one; takes it into account."""
        kind = self._kinds[model_of(step)]
        kind.saved_up = min(_MOST_SAVED, kind.saved_up + BUDGET)
        patience, expected = kind.patience_s(), kind.speed.expected_s(step)
        factors, duration = kind.speed.factors, step.duration_s
        took = None
        if patience is not None and expected is not None and factors and duration > patience and kind.saved_up >= 1:
            kind.saved_up -= 1
            took = sum(min(duration, patience + factor * expected) for factor in factors) / len(factors)
        kind.speed.observe(step)
        # What is remembered is how long the call took with the twin, as where it is in force.
        kind.durations.add(duration if took is None else took)
        return took


def _mended_chains(reads: Sequence[FailedRead]) -> list[list[FailedRead]]:
    """Return the failures of one read after another that ended in its going well, with a model's turn in between."""
    by_span = {read.step.span_id: read for read in reads}
    tried = {read.again.span_id for read in reads if read.again is not None}
    chains = []
    for read in reads:
        if read.step.span_id in tried:
            continue
        chain = [read]
        while (again := chain[-1].again) is not None and again.span_id in by_span:
            chain.append(by_span[again.span_id])
        if chain[-1].mended and any(one.turns for one in chain):
            chains.append(chain)
    return chains


def _spared(run: RunView, target: Target, chains: Sequence[Sequence[FailedRead]]) -> WhatIf:
    turns = {turn.span_id: turn for chain in chains for read in chain for turn in read.turns}
    kept = [chain for chain in chains if len(chain) <= RETRIES]
    durations: dict[str, int] = {}
    for read in (read for chain in kept for read in chain):
        durations |= {turn.span_id: 0 for turn in read.turns}
        durations[read.step.span_id] = read.step.end_ns - read.step.start_ns + round(MEAN_BACKOFF_S * 1e9)
    return WhatIf(target, Changes(durations), run.waited_ns(turns.values()), tuple(chain[0].step for chain in kept))
