"""The whole analysis: an `ExecutionSource` in, read once, an `Analysis` out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from otel_perfopt.analyse.allocation import Allocation
from otel_perfopt.analyse.analysis import Analysis, Counts, ErrorRow, Opportunity
from otel_perfopt.analyse.cache_break import CacheBreak
from otel_perfopt.analyse.context_growth import ContextGrowth
from otel_perfopt.analyse.context_pressure import ContextPressure
from otel_perfopt.analyse.detector import Detector
from otel_perfopt.analyse.efficiency_pattern import EfficiencyPattern
from otel_perfopt.analyse.error_cost import ErrorCost
from otel_perfopt.analyse.error_loss import ErrorLoss
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.analyse.histories import Histories, SeriesOutcome
from otel_perfopt.analyse.hotspot import Hotspot
from otel_perfopt.analyse.memory_growth import MemoryGrowth
from otel_perfopt.analyse.module_start import ModuleStart
from otel_perfopt.analyse.n_plus_one import NPlusOne
from otel_perfopt.analyse.next_steps import NextStepCounts
from otel_perfopt.analyse.notes import notes_of
from otel_perfopt.analyse.opportunity import OpportunityDetector
from otel_perfopt.analyse.over_thinking import OverThinking
from otel_perfopt.analyse.overlap_use import OverlapUse
from otel_perfopt.analyse.preference_use import PreferenceUse
from otel_perfopt.analyse.queueing import Queueing
from otel_perfopt.analyse.ranking import ranked
from otel_perfopt.analyse.rate_limit import RateLimit
from otel_perfopt.analyse.recommending import recommendations
from otel_perfopt.analyse.remedy_saving import with_savings
from otel_perfopt.analyse.repeat_use import RepeatUse
from otel_perfopt.analyse.repeated_call import RepeatedCall
from otel_perfopt.analyse.reread import Reread
from otel_perfopt.analyse.resent_context import ResentContext
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.saturation import Saturation
from otel_perfopt.analyse.sequence import Sequence
from otel_perfopt.analyse.serial_independent import SerialIndependent
from otel_perfopt.analyse.series_findings import series_findings
from otel_perfopt.analyse.slow_cluster import SlowCluster
from otel_perfopt.analyse.store_conversations import StoreConversations
from otel_perfopt.analyse.store_totals import StoreTotals
from otel_perfopt.analyse.totals import Totals, input_tally
from otel_perfopt.analyse.typical_run import TypicalRun
from otel_perfopt.analyse.usage_table import UsageTable
from otel_perfopt.analyse.useful_share import UsefulResults
from otel_perfopt.analyse.warm_up_calls import WarmUpCalls, with_warm_calls
from otel_perfopt.analyse.workflow import Workflow
from otel_perfopt.analyse.worth import wholes_of, with_worth
from otel_perfopt.execution.model import Execution, Target
from otel_perfopt.execution.repetition import Repetitions
from otel_perfopt.execution.source import ExecutionSource
from otel_perfopt.measure.price import PriceTable, priced
from otel_perfopt.signal.source import ReadTally

DetectorFactory = Callable[[int], Detector]

# One entry a detector, made with the seed: a new one is added here, and nowhere else.
DETECTORS: tuple[DetectorFactory, ...] = (
    Hotspot,
    RepeatedCall,
    Reread,
    SerialIndependent,
    NPlusOne,
    ResentContext,
    CacheBreak,
    ContextPressure,
    OverThinking,
    ErrorLoss,
    RateLimit,
    Queueing,
    Saturation,
    MemoryGrowth,
    ModuleStart,
    WarmUpCalls,
    Sequence,
    Workflow,
    EfficiencyPattern,
    Allocation,
    SlowCluster,
)


def analyse(
    source: ExecutionSource,
    *,
    detectors: Iterable[DetectorFactory] = DETECTORS,
    seed: int = 0,
    prices: PriceTable | None = None,
) -> Analysis:
    """Read `source` once, in bounded memory, and return what was found.

    Calls that state no cost are priced by `prices` (None: the list prices that come with the package).
    `seed` decides the bootstrap's draws: the same input and seed give the same analysis. Savings
    are always predicted, whatever `detectors` are asked for beside that.
    """
    table = PriceTable.shipped() if prices is None else prices
    analyser = Analyser(detectors, seed=seed)
    for execution in source.executions():
        analyser.observe(priced(execution, table))
    analysis = analyser.result(source.tally)
    if analysis.cost_usd is None or not table.as_of:
        return analysis
    note = f"Costs that the telemetry does not state are list prices of {table.as_of}."
    return replace(analysis, notes=(*analysis.notes, note))


# What observes runs, in the order in which `Analyser` shows them; detectors follow, what-if first.
_MEMBERS: Final = (
    "_totals",
    "_usage",
    "_context",
    "_overlap",
    "_repeats",
    "_errors",
    "_next",
    "_preferences",
    "_typical",
    "_histories",
    "_useful",
)
OPPORTUNITY: Final = len(_MEMBERS)


class Analyser:
    """Everything that looks at each run once."""

    def __init__(self, detectors: Iterable[DetectorFactory] = DETECTORS, *, seed: int = 0) -> None:
        self._unfinished = 0
        self._repetitions = Repetitions()
        self._totals = Totals()
        self._usage = UsageTable()
        self._context = ContextGrowth()
        self._overlap = OverlapUse()
        self._repeats = RepeatUse()
        self._errors = ErrorCost()
        self._next = NextStepCounts()
        self._preferences = PreferenceUse()
        self._typical = TypicalRun()
        self._histories = Histories()
        self._useful = UsefulResults(seed)
        self._opportunities = OpportunityDetector(seed)
        self._detectors: tuple[Detector, ...] = (self._opportunities, *(make(seed) for make in detectors))
        self._observers: tuple[Callable[[Execution], None], ...] = (
            self._totals.observe,
            self._usage.observe,
            self._context.observe,
            self._overlap.observe,
            self._repeats.observe,
            self._errors.observe,
            self._next.observe,
            self._preferences.observe,
            self._typical.observe,
            self._histories.observe,
            self._useful.observe,
            *(detector.observe for detector in self._detectors),
        )

    @property
    def size(self) -> int:
        """How many observers there are, the heaviest (what-if) among them at `OPPORTUNITY`."""
        return len(self._observers)

    def restrict(self, places: Iterable[int]) -> None:
        """Show runs to the observers at some places only; the others are shown them elsewhere."""
        self._observers = tuple(self._observers[place] for place in places)

    def adopt(self, other: Analyser, places: Iterable[int]) -> None:
        """Take the observers at some places from another analyser, which was shown the same runs."""
        detectors = list(self._detectors)
        for place in places:
            if place < len(_MEMBERS):
                setattr(self, _MEMBERS[place], getattr(other, _MEMBERS[place]))
            else:
                detectors[place - len(_MEMBERS)] = other._detectors[place - len(_MEMBERS)]
        self._detectors = tuple(detectors)
        if OPPORTUNITY in places:
            self._opportunities = other._opportunities
        self._unfinished = other._unfinished

    def believe(self, totals: StoreTotals, conversations: StoreConversations) -> None:
        """Put what a store said of all runs in the place of what was seen of a sample of them."""
        self._totals, self._usage, self._unfinished = totals.totals, totals.usage, totals.unfinished
        self._repeats, self._context = conversations.repeat_use, conversations.context
        self._histories.believe(totals.hours)

    def errors_of(self, counts: Mapping[tuple[str, Target], int], calls: Mapping[Target, int]) -> tuple[ErrorRow, ...]:
        """Return what errors cost over all calls, given how many failed and were made."""
        return self._errors.scaled(counts, calls)

    def observe(self, execution: Execution) -> None:
        """Take one run into account; one that has not finished is only counted, since nobody knows how it ends."""
        if not execution.finished:
            self._unfinished += 1
            return
        RunView.of(execution).repetition = self._repetitions.observe(execution)
        for observe in self._observers:
            observe(execution)

    def result(self, tally: ReadTally) -> Analysis:
        """Return what all runs observed so far say."""
        totals, usage = self._totals, self._usage
        counts = self._counts()
        opportunities = tuple(
            replace(item, conversations=counts.conversations) for item in self._opportunities.opportunities()
        )
        series = self._histories.outcome()
        findings = self._findings(opportunities, series)
        return Analysis(
            tally=input_tally(tally),
            window_ns=totals.window_ns(),
            counts=counts,
            commands=usage.commands(),
            models=usage.models(),
            tools=usage.tools(),
            tokens=totals.tokens,
            cost_usd=totals.cost_usd,
            time_shares=usage.time_shares(),
            thinking=usage.thinking(totals.tokens),
            context=replace(self._context.result(), useful=self._useful.result()),
            parallelism=self._overlap.result(),
            repetition=self._repeats.result(),
            errors=self._errors.result(),
            next_steps=self._next.result(),
            preferences=self._preferences.result(),
            histories=series.histories,
            correlations=series.correlations,
            regressions=series.regressions,
            waterfall=self._typical.result(),
            opportunities=opportunities,
            combined=self._opportunities.combined(),
            findings=findings,
            recommendations=recommendations(findings, opportunities, usage.commands(), counts, totals.window_ns()),
            notes=self._notes(),
        )

    def _findings(self, opportunities: tuple[Opportunity, ...], series: SeriesOutcome) -> tuple[Finding, ...]:
        window_ns = self._totals.window_ns()
        found = [finding for detector in self._detectors for finding in detector.findings()]
        found = with_savings(found, opportunities, replayed=window_ns is not None) + series_findings(series)
        found = with_warm_calls(found, self._detectors)
        # A finding on a time of its own, such as a coming peak, keeps that.
        whole = window_ns or (0, 0)
        found = [finding if any(finding.window_ns) else replace(finding, window_ns=whole) for finding in found]
        totals, commands = self._totals, self._usage.commands()
        return ranked(with_worth(found, wholes_of(self._counts(), totals.tokens, totals.cost_usd, window_ns, commands)))

    def _notes(self) -> tuple[str, ...]:
        return notes_of(self._counts(), self._usage.tools(), self._usage.models())

    def _counts(self) -> Counts:
        return replace(self._totals.counts(), unfinished_runs=self._unfinished)
