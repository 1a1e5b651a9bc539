"""The first parts of a report: what was read, what was found, what it would save, what could not be read."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Analysis, Opportunity
from otel_perfopt.analyse.finding import Finding
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.report import charts
from otel_perfopt.report.recommendations import place
from otel_perfopt.report.section import Card, Entry, Section, Table
from otel_perfopt.report.wording import (
    UNKNOWN,
    count,
    counted,
    dollars,
    effect,
    factor,
    moment,
    seconds,
    share,
    share_interval,
)

_MOST_PROBLEMS = 20
_MOST_PLACES = 3


def overview(analysis: Analysis) -> Section:
    """How much there was, and the numbers to see at a glance."""
    counts, tally = analysis.counts, analysis.tally
    start, end = analysis.window_ns or (None, None)
    read = ", ".join(counted(*pair) for pair in ((tally.files, "file"), (tally.lines, "line"), (tally.spans, "span")))
    when = f" from {moment(start)} to {moment(end)} UTC" if analysis.window_ns else ""
    cards = (
        Card("runs", count(counts.runs), f"{count(counts.failed_runs)} failed"),
        Card("conversations", count(counts.conversations)),
        Card("model calls", count(counts.inferences)),
        Card("tool calls", count(counts.tool_calls), f"{count(counts.tool_errors)} errors"),
        Card("time in runs", seconds(counts.run_time_s)),
        Card("tokens in", count(analysis.tokens.input), f"out {count(analysis.tokens.output)}"),
        Card("read from cache", share(analysis.context.cache_read_share), "of input tokens"),
        Card("sent again", share(analysis.context.resent_share), "of input tokens"),
        Card("tools overlap", factor(analysis.parallelism.reached), "1.00× = one after another"),
        Card("cost", dollars(analysis.cost_usd)),
    )
    known = tuple(card for card in cards if card.value != UNKNOWN)
    return Section("Overview", (f"Read {read}{when}.", *analysis.notes), cards=known)


def findings(analysis: Analysis, most: int | None = None) -> Section:
    """What was found, ranked, with its evidence and what would act on it; the first `most` of them."""
    if not analysis.findings:
        return Section("Findings", ("Nothing stood out in these runs.",))
    return Section(
        "Findings",
        ("Ranked by what acting on them is predicted to save; sizes carry a 95 % interval.",),
        entries=tuple(_entry(finding) for finding in analysis.findings[:most]),
    )


def _entry(finding: Finding) -> Entry:
    acts = finding.suggestion
    places = tuple(place(item) for item in finding.evidence[:_MOST_PLACES])
    answer = f"would act: {_policy_that_acts(acts.optimization)}" if acts else "no policy acts on this by itself"
    title = f"{_name(finding)} · {finding.target}"
    return Entry(title, effect(finding.effect), finding.summary, (answer,), places=places)


def _name(finding: Finding) -> str:
    """Return what a finding is about; of an opportunity that is the optimization."""
    kind = finding.kind.replace("_", " ")
    if finding.suggestion is None or finding.kind not in {"opportunity", "upper_bound"}:
        return kind
    bound = " (upper bound)" if finding.kind == "upper_bound" else ""
    return f"{finding.suggestion.optimization}{bound}"


def _policy_that_acts(optimization: str) -> str:
    return optimization if optimization in OPTIMIZATION_TYPES else f"{optimization} (planned, not there yet)"


def _a_run(item: Opportunity) -> str:
    if item.tokens_per_run is not None:
        return f"{count(round(item.tokens_per_run.estimate))} tokens"
    return seconds(item.seconds_per_run.estimate) if item.seconds_per_run else UNKNOWN


def opportunities(analysis: Analysis) -> Section | None:
    """What replaying the recorded runs with each optimization saves, beside the most it could."""
    if not analysis.opportunities:
        return None
    rows = tuple(
        (
            item.optimization + (" (upper bound)" if item.upper_bound else ""),
            str(item.target),
            share_interval(item.share),
            _a_run(item),
            share(item.bound_share),
            f"{count(item.runs_helped)} of {count(item.runs)}",
            ", ".join(item.overlaps) or UNKNOWN,
        )
        for item in analysis.opportunities
    )
    columns = ("optimization", "where", "saves of all", "a run", "at most", "runs helped", "overlaps with")
    drawn = charts.opportunities(analysis.opportunities)
    return Section(
        "What it would save",
        (
            "Each recorded run is replayed with the optimization applied, dependencies respected.",
            "Shares are of all runs' time, or of all input tokens where a run's saving is in tokens.",
        ),
        tables=(Table(columns, rows, frozenset(columns[2:6])),),
        charts=(drawn,) if drawn else (),
    )


def problems(analysis: Analysis) -> Section | None:
    """What could not be read, and where."""
    tally = analysis.tally
    if not tally.problem_counts:
        return None
    by_kind = ", ".join(f"{kind.replace('_', ' ')} {number}" for kind, number in sorted(tally.problem_counts.items()))
    shown = tuple((str(problem),) for problem in tally.problems[:_MOST_PROBLEMS])
    left = sum(tally.problem_counts.values()) - len(shown)
    more = (f"{left} more are counted, not shown.",) if left > 0 else ()
    return Section(
        "Not read", (f"Counted and left out, nothing else lost: {by_kind}.", *more), tables=(Table(("where",), shown),)
    )
