"""The report's parts in reading order: an `Analysis` in, `Section`s out."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.report.activity import errors, next_steps, parallelism, repetition
from otel_perfopt.report.history import history
from otel_perfopt.report.overview import findings, opportunities, overview, problems
from otel_perfopt.report.preferences import preferences
from otel_perfopt.report.printable import printable
from otel_perfopt.report.recommendations import recommendations, together
from otel_perfopt.report.run import slow_run
from otel_perfopt.report.section import Section
from otel_perfopt.report.usage import context, thinking, usage

# In reading order; each returns None where the recordings say nothing about it.
_PARTS = (
    overview,
    recommendations,
    together,
    findings,
    opportunities,
    usage,
    thinking,
    context,
    parallelism,
    repetition,
    errors,
    next_steps,
    preferences,
    history,
    slow_run,
    problems,
)


def report_sections(analysis: Analysis) -> tuple[Section, ...]:
    """Return every part of the report that has something to say, in text that any screen may show."""
    made = (part(analysis) for part in _PARTS)
    return tuple(printable(section) for section in made if section is not None)
