"""What several optimizations save together: a run's what-ifs in, shares that add up, nothing counted twice, out."""

from __future__ import annotations

from collections.abc import Sequence

from otel_perfopt.analyse.analysis import CombinedSaving, SavingPart
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.what_if import INPUT_TOKENS, LATENCY, WhatIf, WhatIfRule
from otel_perfopt.execution.model import Target
from otel_perfopt.execution.schedule import Changes

# By the place of its rule: a what-if, and what it saves alone.
Imagined = Sequence[tuple[int, WhatIf, float]]
_Key = tuple[int, Target]


def saved_by(run: RunView, what_if: WhatIf, metric: str) -> float:
    """Return what a what-if saves in its run: seconds, or tokens; negative where it would take longer."""
    if metric == INPUT_TOKENS:
        return float(sum(what_if.tokens.values()))
    if what_if.saved_ns is not None:
        return what_if.saved_ns / 1e9
    return run.replay(what_if.changes).saved_ns / 1e9


def merged(first: Changes, then: Changes) -> Changes:
    """Return both changes; where they disagree about a step, the first holds."""
    return Changes(
        durations_ns={**then.durations_ns, **first.durations_ns},
        parallel_replies=first.parallel_replies | then.parallel_replies,
        starts_after={**then.starts_after, **first.starts_after},
    )


class CombinedSavings:
    """Replays each run with its optimizations one after another added, in the order the rules come in."""

    def __init__(self, rules: Sequence[WhatIfRule], seed: int = 0) -> None:
        self._rules = rules
        self._seed = seed
        self._units = Units()
        self._keys: dict[str, dict[_Key, None]] = {LATENCY: {}, INPUT_TOKENS: {}}

    def observe(self, run: RunView, imagined: Imagined) -> None:
        """Take one run into account: what each rule (in order) would have changed, and what that saves alone."""
        sums: dict[object, float] = {}
        if run.execution.timed:
            sums[LATENCY] = run.execution.duration_s
        if run.tokens.input:
            sums[INPUT_TOKENS] = float(run.tokens.input)
        for metric, add in ((LATENCY, self._add_time), (INPUT_TOKENS, self._add_tokens)):
            those = [item for item in imagined if self._rules[item[0]].metric == metric]
            self._keys[metric].update(dict.fromkeys((rule, what_if.target) for rule, what_if, _ in those))
            # What saves nothing alone is not replayed with the others.
            add(run, [item for item in those if item[2]], sums)
        self._units.add(run.execution, sums)

    @staticmethod
    def _add_time(run: RunView, imagined: Imagined, sums: dict[object, float]) -> None:
        changes, before = Changes(), 0.0
        for place, (rule, what_if, alone) in enumerate(imagined):
            changes = merged(changes, what_if.changes)
            saved = alone if place == 0 else run.replay(changes).saved_ns / 1e9
            key = (rule, what_if.target)
            sums[key] = sums.get(key, 0.0) + saved - before
            before = saved

    @staticmethod
    def _add_tokens(run: RunView, imagined: Imagined, sums: dict[object, float]) -> None:
        left = {step.span_id: step.tokens.input or 0 for step in run.inferences}
        for rule, what_if, _ in imagined:
            key = (rule, what_if.target)
            for span_id, saved in what_if.tokens.items():
                # What an earlier rule left out of a call is neither there to leave out nor to cache.
                possible = min(saved, left.get(span_id, 0))
                left[span_id] = left.get(span_id, 0) - possible
                sums[key] = sums.get(key, 0.0) + possible

    def result(self) -> tuple[CombinedSaving, ...]:
        """Return one saving a metric; what the recordings speak against is left out."""
        found = []
        for metric, keys in self._keys.items():
            kept = sorted((key for key in keys if self._rules[key[0]].safe(key[1])), key=_order)
            parts = tuple(
                SavingPart(self._rules[key[0]].optimization, key[1], share)
                for key in kept
                if (share := self._units.ratio(key, metric, seed=self._seed)) is not None
            )
            together = self._units.ratio_of_sum(kept, metric, seed=self._seed) if parts else None
            if together is not None:
                found.append(CombinedSaving(metric, together, parts))
        return tuple(found)


def _order(key: _Key) -> tuple[int, str]:
    return key[0], str(key[1])
