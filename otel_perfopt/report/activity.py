"""The parts of a report on how tools are called: overlap, repeats, errors, and what follows what."""

from __future__ import annotations

from otel_perfopt.analyse.analysis import Analysis, Pattern
from otel_perfopt.report.section import Card, Section, Table
from otel_perfopt.report.wording import UNKNOWN, count, factor, seconds, share

_MOST_ROWS = 10


def parallelism(analysis: Analysis) -> Section | None:
    """How much tool calls overlap, and how much they could."""
    value = analysis.parallelism
    if not value.replies_with_tools:
        return None
    several = f"{count(value.replies_with_several)} of {count(value.replies_with_tools)} replies"
    cards = (
        Card("ask for several tools", share(value.parallel_reply_share), several),
        Card("speed-up reached", factor(value.reached), "of tool time"),
        Card("possible, one reply", factor(value.possible_within_replies)),
        Card("possible, all replies", factor(value.upper_bound_across_replies), "upper bound"),
        Card(
            "independent reads",
            share(value.independent_share),
            f"{count(value.independent_pairs)} of {count(value.adjacent_read_pairs)} pairs",
        ),
    )
    return Section("Parallel tools", cards=tuple(card for card in cards if card.value != UNKNOWN))


def repetition(analysis: Analysis) -> Section | None:
    """Calls made again with equal arguments, and resources read again."""
    value = analysis.repetition
    if not value.calls:
        return None
    repeated = f"{count(value.repeats)} of {count(value.read_calls)} read-only calls ({share(value.repeat_share)})"
    safe = f"{count(value.safe_repeats)} of them with no write in between"
    sentences = [f"{repeated} repeat an earlier one of their conversation; {safe}."]
    if not value.read_calls:
        sentences = ["No call is known to be read-only, so nothing can be said of repeats."]
    if value.reads:
        again = f"{count(value.rereads)} of {count(value.reads)} reads of a named resource"
        sentences.append(f"{again} ({share(value.reread_share)}) visit one that was read before.")
    repeats = tuple(
        (row.tool, count(row.calls), count(row.repeats), count(row.safe), count(row.same_result), seconds(row.time_s))
        for row in value.by_tool[:_MOST_ROWS]
        if row.repeats
    )
    resources = tuple(
        (row.resource, count(row.reads), count(row.rereads), count(row.conversations))
        for row in value.resources[:_MOST_ROWS]
        if row.rereads
    )
    repeat_columns = ("tool", "calls", "repeats", "no write between", "same result", "time of these")
    resource_columns = ("resource", "reads", "again", "conversations")
    tables = (
        Table(repeat_columns, repeats, frozenset(repeat_columns[1:]), "Repeated calls"),
        Table(resource_columns, resources, frozenset(resource_columns[1:]), "Re-read resources"),
    )
    return Section("Repeated work", tuple(sentences), tables=tuple(table for table in tables if table.rows))


def errors(analysis: Analysis) -> Section | None:
    """Errors by type, and the time and tokens lost to them."""
    rows = tuple(
        (
            row.error_type,
            str(row.target),
            count(row.count),
            share(row.share_of_calls),
            count(row.retries),
            seconds(row.lost_s),
            count(row.lost_tokens),
        )
        for row in analysis.errors[:_MOST_ROWS]
    )
    if not rows:
        return None
    columns = ("error", "where", "count", "of calls", "retried", "time lost", "tokens lost")
    return Section("Errors and what they cost", tables=(Table(columns, rows, frozenset(columns[2:])),))


def next_steps(analysis: Analysis) -> Section | None:
    """What follows what, and how well the next tool can be guessed."""
    value = analysis.next_steps
    groups = (
        ("Tool after tool", value.tool_bigrams),
        ("Three in a row", value.tool_trigrams),
        ("Command after command", value.command_bigrams),
    )
    tables = tuple(_pattern_table(title, patterns) for title, patterns in groups if patterns)
    if not tables:
        return None
    guess = []
    if value.tool_top1_accuracy is not None:
        right = f"The next tool is guessed right {share(value.tool_top1_accuracy)} of {count(value.tool_predictions)}"
        guess.append(f"{right} times; always guessing the commonest: {share(value.most_frequent_accuracy)}.")
    return Section("What follows what", tuple(guess), tables=tables)


def _pattern_table(title: str, patterns: tuple[Pattern, ...]) -> Table:
    rows = tuple((" → ".join(item.steps), count(item.count), share(item.share)) for item in patterns[:_MOST_ROWS])
    return Table(("steps", "count", "how often"), rows, frozenset({"count", "how often"}), title)
