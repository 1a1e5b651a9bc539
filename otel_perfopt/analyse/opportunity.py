"""What would have been saved: runs in, replayed with each optimization, savings with intervals and bounds out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from otel_perfopt.analyse.analysis import Opportunity
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.what_if import ParallelToolsRule, PreloadRule, ToolCacheRule, WhatIf, WhatIfRule
from otel_perfopt.analyse.wording import counted, percent, percent_range, seconds
from otel_perfopt.execution.model import Execution, Target

MIN_SHARE = 0.005
MIN_RUNS = 3
MAX_OVERLAPS = 5000
_Key = tuple[int, Target]

# One entry an optimization that can be imagined in a replay.
RULES: tuple[Callable[[], WhatIfRule], ...] = (ToolCacheRule, ParallelToolsRule, PreloadRule)


@dataclass(slots=True)
class _Saving:
    runs: int = 0
    calls: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class OpportunityDetector:
    """Replays every run with a clock once for each optimization that could have touched it.

    The saving is a share of all runs' time, with a bootstrap interval over conversations.
    """

    name = "opportunity"

    def __init__(self, seed: int = 0, rules: Sequence[Callable[[], WhatIfRule]] = RULES) -> None:
        self._seed = seed
        self._rules = [make() for make in rules]
        self._savings: BoundedTable[_Key, _Saving] = BoundedTable(
            _Saving, overflow=(0, Target(command=OTHER)), limit=500
        )
        self._units = Units()
        self._met: set[tuple[_Key, _Key]] = set()
        self._runs = 0

    def observe(self, execution: Execution) -> None:
        """Take one run into account; a run without a clock saves nothing, but is shown to every rule."""
        run = RunView.of(execution)
        sums: dict[object, float] = {}
        touched: dict[_Key, set[str]] = {}
        for place, rule in enumerate(self._rules):
            for what_if in rule.imagine(run):
                if execution.timed:
                    self._add(run, place, what_if, sums)
                    touched[place, what_if.target] = _touched(what_if)
        self._meet(touched)
        if execution.timed:
            self._runs += 1
            sums["time"] = execution.duration_s
            sums["runs"] = 1.0
            sums["time", execution.command.name] = execution.duration_s
            self._units.add(execution, sums)

    def _add(self, run: RunView, place: int, what_if: WhatIf, sums: dict[object, float]) -> None:
        key = (place, what_if.target)
        saving = self._savings[key]
        sums["bound", key] = what_if.bound_ns / 1e9
        if not what_if.calls:
            return
        saved = max(0.0, run.replay(what_if.changes).saved_ns / 1e9)
        sums[key] = saved
        saving.calls += len(what_if.calls)
        saving.runs += saved > 0
        names = sorted({step.name for step in what_if.calls})
        note = f"{seconds(saved)} of {seconds(run.execution.duration_s)} saved on {counted(len(what_if.calls), 'call')} ({', '.join(names[:3])})"
        saving.evidence.add(saved, run.execution, what_if.calls[0], note)

    def _meet(self, touched: dict[_Key, set[str]]) -> None:
        for one, other in combinations(touched, 2):
            # Two targets of one optimization help different calls: what they save adds up.
            if one[0] != other[0] and len(self._met) < MAX_OVERLAPS and touched[one] & touched[other]:
                self._met.add((one, other))

    def _overlaps(self, key: _Key) -> tuple[str, ...]:
        met = {other for pair in self._met if key in pair for other in pair if other != key and self._offered(other)}
        return tuple(sorted(f"{self._kind(place)}: {target}" for place, target in met))

    def _kind(self, place: int) -> str:
        return "upper_bound" if self._rules[place].upper_bound else "opportunity"

    def opportunities(self) -> tuple[Opportunity, ...]:
        """Return every optimization and target that would have saved anything, largest first."""
        found = [self._opportunity(key, saving) for key, saving in self._savings.rows.items() if self._offered(key)]
        return tuple(sorted(found, key=lambda item: (item.upper_bound, -(item.share.estimate if item.share else 0.0))))

    def _offered(self, key: _Key) -> bool:
        return self._savings[key].calls > 0 and self._rules[key[0]].safe(key[1])

    def _opportunity(self, key: _Key, saving: _Saving) -> Opportunity:
        rule = self._rules[key[0]]
        bound = self._units.ratio(("bound", key), "time", seed=self._seed)
        return Opportunity(
            optimization=rule.optimization,
            target=key[1],
            share=self._units.ratio(key, "time", seed=self._seed),
            seconds_per_run=self._units.ratio(key, "runs", seed=self._seed),
            bound_share=bound.estimate if bound is not None else None,
            runs=self._runs,
            runs_helped=saving.runs,
            conversations=self._units.count,
            calls=saving.calls,
            upper_bound=rule.upper_bound,
            overlaps=self._overlaps(key),
        )

    def findings(self) -> list[Finding]:
        """Return one finding for each opportunity whose saving is surely above nothing and at least half a per cent."""
        found = []
        for key, saving in self._savings.rows.items():
            if not self._offered(key):
                continue
            share = self._units.ratio(key, "time", seed=self._seed)
            if share is None or saving.runs < MIN_RUNS or share.low <= 0 or share.estimate < MIN_SHARE:
                continue
            found.append(self._finding(key, saving, share))
        return found

    def _finding(self, key: _Key, saving: _Saving, share: Interval) -> Finding:
        rule, target = self._rules[key[0]], key[1]
        bound = self._units.ratio(("bound", key), "time", seed=self._seed)
        most = f"; anything of the kind could save at most {percent(bound.estimate)}" if bound is not None else ""
        each = self._units.ratio(key, "runs", seed=self._seed)
        a_run = f", {seconds(each.estimate)} a run" if each is not None else ""
        would = "at best would have saved" if rule.upper_bound else "would have saved"
        return Finding(
            kind=self._kind(key[0]),
            target=target,
            summary=(
                f"{rule.optimization} on {target} {would} {percent_range(share)} of all runs' time{a_run}: "
                f"{counted(saving.calls, 'call')} in {saving.runs:,} of {counted(self._runs, 'run')} replayed{most}."
            ),
            detector=self.name,
            effect=Effect("latency", "s", self._of_target(key, share), each),
            occurrences=saving.calls,
            runs=saving.runs,
            evidence=saving.evidence.kept(),
            suggestion=Suggestion(rule.optimization, rule.parameters(), _match(target)),
            saving=share,
            overlaps=self._overlaps(key),
        )

    def _of_target(self, key: _Key, share: Interval) -> Interval:
        command = key[1].command
        own = self._units.ratio(key, ("time", command), seed=self._seed) if command else None
        return share if own is None else own


def _touched(what_if: WhatIf) -> set[str]:
    # Calls, and the replies that asked for them: two that help different calls of one reply share its time.
    return {span_id for step in what_if.calls for span_id in (step.span_id, step.requested_by) if span_id}


def _match(target: Target) -> dict[str, tuple[str, ...]]:
    names: dict[str, str] = {"command": target.command, "tool": target.tool, "model": target.model}
    return {word: (name,) for word, name in names.items() if name} or {"command": ("*",)}
