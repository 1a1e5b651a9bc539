"""How each metric is judged: a metric's name in, its kind of test and its good direction out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

TASK_FAILURE = "task_failure"
INTERRUPTED = "interrupted"
TOOL_ERROR = "tool_error"
LATENCY = "latency"
LATENCY_P95_EXCEED = "latency_p95_exceed"
TOKENS = "tokens"
COST_USD = "cost_usd"
FAULT = "fault"
COMPLETION = "completion"
LATENCY_SPREAD = "latency_spread"
MEMORY = "memory"
START_TIME = "start_time"
SATISFACTION = "satisfaction"
QUALITY = "quality"
RELEVANCE = "relevance"
ACCURACY = "accuracy"
COMPLETENESS = "completeness"
CLARITY = "clarity"
# Scores given by people and judges (`gen_ai.evaluation.result`): not negative, more is better.
SCORES = (SATISFACTION, QUALITY, RELEVANCE, ACCURACY, COMPLETENESS, CLARITY)


class Test(str, Enum):
    """Which test a metric's values go to."""

    EVENT = "event"  # 0 or 1 a unit: exact tests on counts
    EXCEEDANCE = "exceedance"  # a value beyond the baseline's frozen p95 is an event
    LOG_MEAN = "log_mean"  # positive and skewed by nature: means of logarithms
    SPREAD = "spread"  # how much a positive value scatters: standard deviations of logarithms
    MEAN = "mean"  # what adds up, or any other score: arithmetic means, winsorised
    FAULT = "fault"  # exceptions of our own: counted, no statistics

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class MetricKind:
    """One metric's test, direction, the value its test reads, and the least value a logarithm is taken of.

    `bounded` values (scores) have no tail to winsorise.
    """

    test: Test
    higher_is_better: bool = False
    reads: str = ""
    floor: float = 0.0
    bounded: bool = False


_SCORE = MetricKind(Test.MEAN, higher_is_better=True, bounded=True)
_KINDS = {
    TASK_FAILURE: MetricKind(Test.EVENT),
    INTERRUPTED: MetricKind(Test.EVENT),
    TOOL_ERROR: MetricKind(Test.EVENT),
    LATENCY: MetricKind(Test.LOG_MEAN),
    LATENCY_P95_EXCEED: MetricKind(Test.EXCEEDANCE, reads=LATENCY),
    # A reply served from a cache costs no tokens: counted as one, rather than left out.
    TOKENS: MetricKind(Test.LOG_MEAN, floor=1.0),
    COST_USD: MetricKind(Test.MEAN),
    FAULT: MetricKind(Test.FAULT),
    COMPLETION: MetricKind(Test.MEAN, higher_is_better=True, bounded=True),
    LATENCY_SPREAD: MetricKind(Test.SPREAD, reads=LATENCY),
    MEMORY: MetricKind(Test.MEAN),
    START_TIME: MetricKind(Test.LOG_MEAN),
    **dict.fromkeys(SCORES, _SCORE),
}


def metric_kind(metric: str) -> MetricKind:
    """Return how `metric` is judged; a metric nobody listed is a mean of which less is better."""
    return _KINDS.get(metric, MetricKind(Test.MEAN))
