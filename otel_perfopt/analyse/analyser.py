"""The whole analysis: an `ExecutionSource` in, read once, an `Analysis` out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.analyse.context_growth import ContextGrowth
from otel_perfopt.analyse.detector import Detector
from otel_perfopt.analyse.error_cost import ErrorCost
from otel_perfopt.analyse.next_steps import NextStepCounts
from otel_perfopt.analyse.totals import Totals, input_tally
from otel_perfopt.analyse.typical_run import TypicalRun
from otel_perfopt.analyse.usage_table import UsageTable
from otel_perfopt.execution.model import Execution
from otel_perfopt.execution.source import ExecutionSource

DetectorFactory = Callable[[], Detector]

# One entry a detector: a new one is added here, and nowhere else.
DETECTORS: tuple[DetectorFactory, ...] = ()


def analyse(source: ExecutionSource, *, detectors: Sequence[DetectorFactory] = DETECTORS, seed: int = 0) -> Analysis:
    """Read `source` once, in bounded memory, and return what was found.

    `seed` decides the bootstrap's draws: the same input and seed give the same analysis.
    """
    analyser = Analyser(detectors, seed=seed)
    for execution in source.executions():
        analyser.observe(execution)
    return analyser.result(source)


class Analyser:
    """Everything that looks at each run once."""

    def __init__(self, detectors: Sequence[DetectorFactory], *, seed: int) -> None:
        self._seed = seed
        self._totals = Totals()
        self._usage = UsageTable()
        self._context = ContextGrowth()
        self._errors = ErrorCost()
        self._next = NextStepCounts()
        self._typical = TypicalRun()
        self._detectors = [make() for make in detectors]

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        for section in (self._totals, self._usage, self._context, self._errors, self._next, self._typical):
            section.observe(execution)
        for detector in self._detectors:
            detector.observe(execution)

    def result(self, source: ExecutionSource) -> Analysis:
        """Return what all runs together say."""
        totals = self._totals
        findings = [finding for detector in self._detectors for finding in detector.findings()]
        return Analysis(
            tally=input_tally(source.tally),
            window_ns=totals.window_ns(),
            counts=totals.counts(),
            commands=self._usage.commands(),
            models=self._usage.models(),
            tools=self._usage.tools(),
            tokens=totals.tokens,
            cost_usd=totals.cost_usd,
            time_shares=self._usage.time_shares(),
            thinking=self._usage.thinking(totals.tokens),
            context=self._context.result(),
            errors=self._errors.result(),
            next_steps=self._next.result(),
            waterfall=self._typical.result(),
            findings=tuple(findings),
        )
