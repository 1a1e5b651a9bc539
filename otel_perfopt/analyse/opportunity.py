"""What would have been saved: runs in, replayed with each optimization, savings with intervals and bounds out."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from otel_perfopt.analyse.analysis import CombinedSaving, Opportunity
from otel_perfopt.analyse.batch_rule import BatchToolsRule
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.combined_saving import CombinedSavings, saved_by
from otel_perfopt.analyse.context_rules import ContextCompressionRule, PromptCacheRule, PromptTidyRule
from otel_perfopt.analyse.endpoint_rule import EndpointBalancingRule
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.hedge_rule import RetryHedgeRule
from otel_perfopt.analyse.model_rules import AdaptiveConcurrencyRule, EffortRoutingRule, ModelRoutingRule
from otel_perfopt.analyse.preload_rule import MinedPreloadRule
from otel_perfopt.analyse.response_rule import ResponseCacheRule
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.selective_rule import SelectiveContextRule
from otel_perfopt.analyse.start_rules import LazyImportRule, WarmUpRule
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.what_if import (
    INPUT_TOKENS,
    LATENCY,
    ParallelToolsRule,
    PreloadRule,
    ToolCacheRule,
    WhatIf,
    WhatIfRule,
)
from otel_perfopt.analyse.wording import counted, percent, percent_range, seconds, tokens
from otel_perfopt.execution.model import Execution, Target

MIN_SHARE = 0.005
MIN_RUNS = 3
MAX_OVERLAPS = 5000
_Key = tuple[int, Target]

# One entry an optimization that can be imagined in a replay. The order is that in which savings
# are added up: each rule gets what those before it have left.
RULES: tuple[Callable[[], WhatIfRule], ...] = (
    ResponseCacheRule,
    ToolCacheRule,
    ParallelToolsRule,
    MinedPreloadRule,
    WarmUpRule,
    EndpointBalancingRule,
    RetryHedgeRule,
    SelectiveContextRule,
    PromptTidyRule,
    ContextCompressionRule,
    PromptCacheRule,
    PreloadRule,
    BatchToolsRule,
    EffortRoutingRule,
    ModelRoutingRule,
    AdaptiveConcurrencyRule,
    LazyImportRule,
)
_WHOLE = {LATENCY: "time", INPUT_TOKENS: "tokens"}
_WORDS = {LATENCY: "all runs' time", INPUT_TOKENS: "all input tokens"}
_UNITS = {LATENCY: "s", INPUT_TOKENS: "{token}"}


@dataclass(slots=True)
class _Saving:
    runs: int = 0
    calls: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)


class OpportunityDetector:
    """Replays every run once for each optimization that could have touched it.

    The saving is a share of all runs' time (of those with a clock), or of all input tokens, with a
    bootstrap interval over conversations.
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
        self._runs = {LATENCY: 0, INPUT_TOKENS: 0}
        self._combined = CombinedSavings(self._rules, seed)

    def observe(self, execution: Execution) -> None:
        """Take one run into account; a run without a clock saves no time, but is shown to every rule."""
        run = RunView.of(execution)
        sums: dict[object, float] = {}
        touched: dict[_Key, set[str]] = {}
        imagined: list[tuple[int, WhatIf, float]] = []
        for place, rule in enumerate(self._rules):
            for what_if in rule.imagine(run):
                if execution.timed or rule.metric != LATENCY:
                    saved = self._add(run, place, what_if, sums)
                    touched[place, what_if.target] = _touched(what_if)
                    if what_if.calls and not rule.upper_bound:
                        imagined.append((place, what_if, saved))
        self._meet(touched)
        self._add_wholes(run, sums)
        self._units.add(execution, sums)
        self._combined.observe(run, imagined)

    def _add_wholes(self, run: RunView, sums: dict[object, float]) -> None:
        name = run.execution.command.name
        wholes = {LATENCY: run.execution.duration_s if run.execution.timed else None, INPUT_TOKENS: run.tokens.input}
        for metric, whole in wholes.items():
            if whole is not None:
                self._runs[metric] += 1
                sums[_WHOLE[metric]] = float(whole)
                sums[_WHOLE[metric], name] = float(whole)
                sums["runs", metric] = 1.0

    def _add(self, run: RunView, place: int, what_if: WhatIf, sums: dict[object, float]) -> float:
        """Add one what-if up; returns what it saves in the run, in its rule's unit."""
        metric = self._rules[place].metric
        key = (place, what_if.target)
        saving = self._savings[key]
        latency = metric == LATENCY
        bound = what_if.bound_ns / 1e9 if latency else float(what_if.bound_tokens)
        sums["bound", key] = sums.get(("bound", key), 0.0) + bound
        if not what_if.calls:
            return 0.0
        saved = saved_by(run, what_if, metric)
        sums[key] = sums.get(key, 0.0) + saved
        saving.calls += len(what_if.calls)
        saving.runs += saved > 0
        if saving.evidence.wants(saved):
            saving.evidence.add(saved, run.execution, what_if.calls[0], _note(run, what_if, saved, metric))
        return saved

    def _meet(self, touched: dict[_Key, set[str]]) -> None:
        for one, other in combinations(touched, 2):
            # Two targets of one optimization help different calls: what they save adds up.
            alike = self._rules[one[0]].metric == self._rules[other[0]].metric
            if alike and one[0] != other[0] and len(self._met) < MAX_OVERLAPS and touched[one] & touched[other]:
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

    def combined(self) -> tuple[CombinedSaving, ...]:
        """Return what all that is predicted would save together, nothing counted twice."""
        return self._combined.result()

    def _share(self, key: _Key, part: Hashable) -> Interval | None:
        return self._units.ratio(part, _WHOLE[self._rules[key[0]].metric], seed=self._seed)

    def _per_run(self, key: _Key) -> Interval | None:
        return self._units.ratio(key, ("runs", self._rules[key[0]].metric), seed=self._seed)

    def _opportunity(self, key: _Key, saving: _Saving) -> Opportunity:
        rule = self._rules[key[0]]
        bound = self._share(key, ("bound", key))
        each = self._per_run(key)
        return Opportunity(
            optimization=rule.optimization,
            target=key[1],
            share=self._share(key, key),
            seconds_per_run=each if rule.metric == LATENCY else None,
            bound_share=bound.estimate if bound is not None else None,
            runs=self._runs[rule.metric],
            runs_helped=saving.runs,
            conversations=self._units.count,
            calls=saving.calls,
            upper_bound=rule.upper_bound,
            overlaps=self._overlaps(key),
            metric=rule.metric,
            tokens_per_run=each if rule.metric == INPUT_TOKENS else None,
        )

    def findings(self) -> list[Finding]:
        """Return one finding for each opportunity whose saving is surely above nothing and at least half a per cent."""
        found = []
        for key, saving in self._savings.rows.items():
            if not self._offered(key):
                continue
            share = self._share(key, key)
            if share is None or saving.runs < MIN_RUNS or share.low <= 0 or share.estimate < MIN_SHARE:
                continue
            found.append(self._finding(key, saving, share))
        return found

    def _finding(self, key: _Key, saving: _Saving, share: Interval) -> Finding:
        rule, target = self._rules[key[0]], key[1]
        bound = self._share(key, ("bound", key))
        most = f"; anything of the kind could save at most {percent(bound.estimate)}" if bound is not None else ""
        each = self._per_run(key)
        amount = seconds if rule.metric == LATENCY else tokens
        a_run = f", {amount(each.estimate)} a run" if each is not None else ""
        would = "at best would have saved" if rule.upper_bound else "would have saved"
        return Finding(
            kind=self._kind(key[0]),
            target=target,
            summary=(
                f"{rule.optimization} on {target} {would} {percent_range(share)} of {_WORDS[rule.metric]}{a_run}: "
                f"{counted(saving.calls, 'call')} in {saving.runs:,} of {counted(self._runs[rule.metric], 'run')} "
                f"replayed{most}."
            ),
            detector=self.name,
            effect=Effect(rule.metric, _UNITS[rule.metric], self._of_target(key, share), each),
            occurrences=saving.calls,
            runs=saving.runs,
            evidence=saving.evidence.kept(),
            suggestion=Suggestion(rule.optimization, rule.parameters(target), _match(target)),
            saving=share,
            overlaps=self._overlaps(key),
        )

    def _of_target(self, key: _Key, share: Interval) -> Interval:
        command = key[1].command
        whole = _WHOLE[self._rules[key[0]].metric]
        own = self._units.ratio(key, (whole, command), seed=self._seed) if command else None
        return share if own is None else own


def _note(run: RunView, what_if: WhatIf, saved: float, metric: str) -> str:
    latency = metric == LATENCY
    names = ", ".join(sorted({step.name for step in what_if.calls})[:3])
    whole = seconds(run.execution.duration_s) if latency else tokens(run.tokens.input or 0)
    amount = seconds(saved) if latency else tokens(saved)
    return f"{amount} of {whole} saved on {counted(len(what_if.calls), 'call')} ({names})"


def _touched(what_if: WhatIf) -> set[str]:
    # Calls, and the replies that asked for them: two that help different calls of one reply share its time.
    return {span_id for step in what_if.calls for span_id in (step.span_id, step.requested_by) if span_id}


def _match(target: Target) -> dict[str, tuple[str, ...]]:
    names: dict[str, str] = {"command": target.command, "tool": target.tool, "model": target.model}
    return {word: (name,) for word, name in names.items() if name} or {"command": ("*",)}
