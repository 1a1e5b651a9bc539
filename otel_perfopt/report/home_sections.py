"""The parts of a report on policies: a `HomeView` in, where they stand, what was learned and what happened out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.decide.refinement import refinements
from otel_perfopt.decide.state import EXPOSED, State
from otel_perfopt.loop.observatory import Standing
from otel_perfopt.report.charts import CRITICAL, chart
from otel_perfopt.report.home_view import HomeView
from otel_perfopt.report.ledger import what_happened
from otel_perfopt.report.policy_plan import days_text
from otel_perfopt.report.printable import printable
from otel_perfopt.report.section import Card, Chart, Section, Table
from otel_perfopt.report.standing import guardrails_held, relative_change, what_now
from otel_perfopt.report.wording import UNKNOWN, clock, count, factor, moment, share, share_interval
from otel_perfopt.verify.verdict import MetricResult

_MOST_ENTRIES = 30
_ROLE_COLOURS = {"goal": "#4269d0", "guardrail": "#9498a0"}


def home_sections(view: HomeView) -> tuple[tuple[Section, ...], tuple[Section, ...]]:
    """Return what a reader wants first and what may come last, in text that any screen may show."""
    return _said(_policies(view), _queue(view)), _said(_learned(view), _happened(view))


def _said(*made: Section | None) -> tuple[Section, ...]:
    return tuple(printable(section) for section in made if section is not None)


def _policies(view: HomeView) -> Section | None:
    if not view.statuses and not view.problems:
        return None
    states = Counter(status.state.state for status in view.statuses)
    told = (*(("Everything is switched off.",) if view.killed else ()), *view.problems)
    cards = (
        Card("active", count(states[State.ACTIVE])),
        Card("on trial", count(states[State.CANARY] + states[State.SHADOW])),
        Card("wait for approval", count(sum(status.pending_gate is not None for status in view.statuses))),
        Card("taken back", count(states[State.ROLLED_BACK])),
    )
    drawn = _effects(view)
    return Section(
        "Policies and verdicts",
        told,
        cards=cards,
        tables=(_standing_table(view), _guardrails(view)),
        charts=(drawn,) if drawn else (),
    )


def _standing_table(view: HomeView) -> Table:
    rows = tuple(_standing_row(status, view.standings.get(status.name)) for status in view.statuses)
    return Table(("policy", "does", "state", "since (UTC)", "units", "goal so far", "guardrails", "now"), rows)


def _standing_row(status: PolicyStatus, standing: Standing | None) -> tuple[str, ...]:
    verdict = standing.verdict if standing else None
    goal = next((one for one in verdict.metrics if one.role == "goal"), None) if verdict else None
    return (
        status.name,
        status.policy.spec.optimize.type,
        status.state.stage or str(status.state.state),
        moment(status.state.since_ns or None),
        f"{verdict.treatment_units} + {verdict.baseline_units}" if verdict else UNKNOWN,
        f"{goal.metric} {relative_change(goal)}" if goal else UNKNOWN,
        guardrails_held(verdict),
        what_now(status, standing),
    )


def _guardrails(view: HomeView) -> Table:
    rows = tuple(
        (name, one.metric, one.role.replace("_", " "), relative_change(one), _says(one), one.reason)
        for name, standing in view.standings.items()
        if standing.verdict is not None
        for one in standing.verdict.metrics
    )
    return Table(
        ("policy", "metric", "as", "treatment against baseline", "says", "why"), rows, title="What was compared"
    )


def _says(result: MetricResult) -> str:
    if result.role == "goal":
        return str(result.conclusion)
    return "harm" if result.harmed else "held" if result.held else "not shown yet"


def _effects(view: HomeView) -> Chart | None:
    """Draw every relative effect with its interval; zero is no difference."""
    values = list(_effect_rows(view))
    if not values:
        return None
    y = {"field": "name", "type": "nominal", "sort": None, "title": None}
    x = {"type": "quantitative", "axis": {"format": "+.0%"}, "title": "treatment against baseline"}
    scale = {"domain": list(_ROLE_COLOURS), "range": list(_ROLE_COLOURS.values())}
    colour = {"field": "role", "type": "nominal", "scale": scale, "legend": {"title": None, "orient": "top"}}
    ends = {"x": {"field": "low", **x}, "x2": {"field": "high"}}
    return chart(
        "Effect of each policy with its interval; left of the red line is less. It is valid at every look.",
        {"step": 26},
        data={"values": values},
        layer=[
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"y": y, **ends, "color": colour}},
            {
                "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": {"y": y, "x": {"field": "estimate", **x}, "color": colour},
            },
            {"mark": {"type": "rule", "color": CRITICAL, "strokeDash": [3, 3]}, "encoding": {"x": {"datum": 0}}},
        ],
    )


def _effect_rows(view: HomeView) -> Iterator[dict[str, object]]:
    exposed = [status.name for status in view.statuses if status.state.state in EXPOSED]
    for name in exposed:
        verdict = view.standings[name].verdict
        for one in verdict.metrics if verdict is not None else ():
            if one.effect is not None and not one.absolute and one.role in _ROLE_COLOURS:
                ends = {"estimate": one.effect.estimate, "low": one.effect.low, "high": one.effect.high}
                # An interval without an end yet would draw an axis without one.
                if all(abs(end) < 10 for end in ends.values()):
                    yield {"name": printable(f"{name}: {one.metric}"), "role": one.role, **ends}


def _queue(view: HomeView) -> Section | None:
    rows = tuple(
        (
            item.policy,
            item.optimization,
            f"{item.metric} {share_interval(item.saved)}",
            share(item.probability),
            item.risk,
            count(item.expected_units),
            days_text(item.expected_days),
            item.needs or item.state,
        )
        for item in view.queue
    )
    if not rows:
        return None
    columns = ("next", "does", "should save", "succeeds", "risk", "units", "verdict in", "needs")
    return Section(
        "What is next", ("By expected value: saving × chance of success ÷ risk.",), tables=(Table(columns, rows),)
    )


def _learned(view: HomeView) -> Section | None:
    learned = view.learned
    if not learned.outcomes:
        return None
    effects = tuple(
        (one.optimization, one.context, count(one.trials), count(one.succeeded), one.metric, share_interval(one.saved))
        for one in learned.effects()
    )
    ended = tuple(
        (
            clock(one.time_ns),
            one.policy,
            str(one.end),
            share_interval(one.predicted),
            share_interval(one.realised),
            one.reason,
        )
        for one in learned.outcomes
    )
    found = learned.calibration()
    ratio = "Nothing was both predicted and measured yet."
    if found is not None:
        between = f"({factor(found.low)} to {factor(found.high)})"
        ratio = f"What was realised is {factor(found.estimate)} of what was predicted {between}."
    tried = tuple(f"Worth a trial: {finding.summary}" for finding in refinements(learned.outcomes))
    tables = (
        Table(("does", "where", "tried", "kept", "of", "saves (shrunk)"), effects, frozenset({"tried", "kept"})),
        Table(("ended (UTC)", "policy", "how", "predicted", "realised", "why"), ended, title="Ended roll-outs"),
    )
    return Section("What was learned", (ratio, *tried), tables=tables)


def _happened(view: HomeView) -> Section | None:
    if not view.entries:
        return None
    last = view.entries[-_MOST_ENTRIES:]
    rows = tuple(
        (str(entry.sequence), clock(entry.time_ns), entry.policy, what_happened(entry), entry.actor, entry.reason)
        for entry in reversed(last)
    )
    left = len(view.entries) - len(last)
    more = f" {count(left)} earlier ones are in the ledger." if left else ""
    head = view.entries[-1]
    sentence = f"Newest first.{more} The chain's head is entry {head.sequence}, {head.hash}."
    return Section(
        "What happened", (sentence,), tables=(Table(("#", "time (UTC)", "policy", "what", "by", "why"), rows),)
    )
