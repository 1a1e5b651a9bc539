"""The parts of a report on where time, tokens and context go."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Analysis, UsageRow, UsefulShare
from otel_perfopt.report import charts
from otel_perfopt.report.section import Card, Section, Table
from otel_perfopt.report.wording import UNKNOWN, count, dollars, factor, seconds, share

_MOST_ROWS = 15


def usage(analysis: Analysis) -> Section | None:
    """Time, errors, tokens and cost by command, model and tool."""
    groups = (("command", analysis.commands), ("model", analysis.models), ("tool", analysis.tools))
    tables = tuple(_usage_table(what, rows) for what, rows in groups if rows)
    if not tables:
        return None
    drawn = charts.time_shares(analysis.time_shares)
    waiting = any(row.waiting for _, rows in groups for row in rows)
    notes = ("† mostly a person's time: waiting for a permission or an answer.",) if waiting else ()
    return Section("Where time and tokens go", notes, tables=tables, charts=(drawn,) if drawn else ())


def _usage_table(what: str, rows: tuple[UsageRow, ...]) -> Table:
    columns = (what, "count", "errors", "p50", "p95", "total", "self", "critical path", "in", "out", "cost")
    timed = any(row.timed for row in rows)
    costed = any(row.cost_usd is not None for row in rows)
    dropped = ({"p50", "p95", "total", "self", "critical path"} if not timed else set()) | (
        set() if costed else {"cost"}
    )
    kept = tuple(index for index, column in enumerate(columns) if column not in dropped)
    body = tuple(tuple(_usage_row(row)[index] for index in kept) for row in rows[:_MOST_ROWS])
    left = len(rows) - len(body)
    title = f"By {what}" + (f" ({left} more in the JSON document)" if left > 0 else "")
    names = tuple(columns[index] for index in kept)
    return Table(names, body, frozenset(names[1:]), title)


def _usage_row(row: UsageRow) -> tuple[str, ...]:
    return (
        row.name + (" †" if row.waiting else ""),
        count(row.count),
        count(row.errors),
        seconds(row.p50_s),
        seconds(row.p95_s),
        seconds(row.total_s),
        seconds(row.self_s),
        share(row.critical_share),
        count(row.tokens.input),
        count(row.tokens.output),
        dollars(row.cost_usd),
    )


def thinking(analysis: Analysis) -> Section | None:
    """How much time and output is spent thinking."""
    value = analysis.thinking
    if not value.steps:
        return None
    cards = (
        Card("thinking steps", count(value.steps)),
        Card("time thinking", seconds(value.total_s), f"{share(value.share_of_time)} of run time"),
        Card("reasoning tokens", count(value.reasoning_tokens), f"{share(value.share_of_output)} of output"),
    )
    inferred = value.estimated_share
    note = (f"{share(inferred)} of the thinking time is inferred, not observed.",) if inferred else ()
    return Section("Thinking", note, cards=tuple(card for card in cards if card.value != UNKNOWN))


def _useful(value: UsefulShare) -> Card:
    found = value.share
    if found is None:
        return Card("results used", UNKNOWN)
    seen = "in replies and arguments" if value.with_replies else "in arguments of calls alone"
    bounds = f"{share(found.low)} to {share(found.high)}"
    return Card(
        "results used", share(found.estimate), f"of their tokens, {bounds}; estimated: values seen again {seen}"
    )


def context(analysis: Analysis) -> Section | None:
    """How contexts grow, what is sent again and what the provider had cached."""
    value = analysis.context
    if value.input_tokens is None:
        return None
    cards = (
        Card("first call", count(value.first_p50), "tokens, median"),
        Card("peak", count(value.peak_p50), f"median; largest {count(value.peak_max)}"),
        Card("sent again", share(value.resent_share), f"each unique token {factor(value.resend_factor)}"),
        Card("read from cache", share(value.cache_read_share), "of input tokens"),
        Card("written to cache", share(value.cache_write_share), "of input tokens"),
        Card("peak of window", share(value.window_peak_share)),
        _useful(value.useful),
    )
    drawn = charts.context_growth(value.growth)
    return Section(
        "Context", cards=tuple(card for card in cards if card.value != UNKNOWN), charts=(drawn,) if drawn else ()
    )
