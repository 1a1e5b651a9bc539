"""What questions ask of a span most, as SQL: a field's name in, a promoted column or the expression for it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.signal.dialect_table import (
    CLAUDE_CODE_NAMES,
    CLAUDE_CODE_PREFIX,
    CLAUDE_CODE_SCOPE,
    EITHER_MODEL,
    KINDS_BY_OPERATION,
    MILLISECONDS,
    NAMES,
    OPERATION_NAMES,
    OPERATIONS_BY_VALUE,
    SPAN_NAMES,
    TOOL_NAME_FALLBACKS,
    WEAK_NAMES,
)

Attribute = Callable[[str], str]
_TEXT: Final = "LowCardinality(String)"
_PLAIN_TEXT: Final = "String"
_COUNT: Final = "Nullable(Int64)"
_AMOUNT: Final = "Nullable(Float64)"

# Claude Code's names are everyday words, so they count only on its own spans.
_CLAUDE_CODE: Final = f"(startsWith(SpanName, '{CLAUDE_CODE_PREFIX}') OR startsWith(ScopeName, '{CLAUDE_CODE_SCOPE}'))"


@dataclass(frozen=True, slots=True)
class HotColumn:
    """A promoted column: its name, its type, and the attributes it comes from, the first that is stated counts."""

    name: str
    type: str
    attributes: tuple[str, ...]


HOT_COLUMNS: Final = (
    HotColumn("StepKind", _TEXT, (c.STEP_KIND,)),
    HotColumn("Operation", _TEXT, (c.GEN_AI_OPERATION_NAME,)),
    HotColumn("Command", _TEXT, (c.COMMAND_NAME,)),
    HotColumn("Outcome", _TEXT, (c.COMMAND_OUTCOME,)),
    HotColumn("Agent", _TEXT, (c.GEN_AI_AGENT_NAME,)),
    HotColumn("Tool", _TEXT, (c.GEN_AI_TOOL_NAME,)),
    HotColumn("Effects", _TEXT, (c.TOOL_EFFECTS,)),
    HotColumn("Model", _TEXT, (c.GEN_AI_REQUEST_MODEL, c.GEN_AI_RESPONSE_MODEL)),
    HotColumn("ErrorType", _TEXT, (c.ERROR_TYPE,)),
    HotColumn("ConversationId", _PLAIN_TEXT, (c.GEN_AI_CONVERSATION_ID, c.SESSION_ID)),
    HotColumn("UserId", _PLAIN_TEXT, (c.USER_ID,)),
    HotColumn("ArgumentsDigest", _PLAIN_TEXT, (c.ARGUMENTS_DIGEST,)),
    HotColumn("ResultDigest", _PLAIN_TEXT, (c.RESULT_DIGEST,)),
    HotColumn("Resource", _PLAIN_TEXT, (c.TOOL_RESOURCE,)),
    HotColumn("RequestedBy", _PLAIN_TEXT, (c.REQUESTED_BY,)),
    HotColumn("InputTokens", _COUNT, (c.GEN_AI_USAGE_INPUT_TOKENS,)),
    HotColumn("OutputTokens", _COUNT, (c.GEN_AI_USAGE_OUTPUT_TOKENS,)),
    HotColumn("CacheReadTokens", _COUNT, (c.GEN_AI_USAGE_CACHE_READ_TOKENS,)),
    HotColumn("CacheWriteTokens", _COUNT, (c.GEN_AI_USAGE_CACHE_WRITE_TOKENS,)),
    HotColumn("ReasoningTokens", _COUNT, (c.GEN_AI_USAGE_REASONING_TOKENS,)),
    HotColumn("ResentTokens", _COUNT, (c.CONTEXT_RESENT_TOKENS,)),
    HotColumn("ResultTokens", _COUNT, (c.RESULT_TOKENS,)),
    HotColumn("CostUsd", _AMOUNT, (c.COST_USD,)),
    HotColumn("TimeToFirstToken", _AMOUNT, (c.TIME_TO_FIRST_TOKEN,)),
)
HOT_NAMES: Final = tuple(column.name for column in HOT_COLUMNS)


def quoted(text: str) -> str:
    """Return a text of this package (never of telemetry) as an SQL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def promoted_expression(column: HotColumn, attribute: Attribute) -> str:
    """Return what a column of our own table holds: its records are in our vocabulary already."""
    return _typed(column, _first(map(attribute, column.attributes)))


def any_dialect_expression(column: HotColumn, attribute: Attribute) -> str:
    """Return the same field of any row, whatever instrumentation wrote its attributes.

    What only code can tell (the structure of arguments, a span's place in its trace) is not in it.
    """
    if column.name == "StepKind":
        return _step_kind(attribute)
    if column.name == "Operation":
        return _operation(attribute)
    if column.name == "Command":
        return _command(attribute)
    if column.name == "InputTokens":
        return _input_tokens(attribute)
    if column.name == "TimeToFirstToken":
        stated = [_stated(column, attribute)]
        stated.extend(f"toFloat64OrNull({attribute(name)}) / 1000" for name in MILLISECONDS)
        return f"coalesce({', '.join(stated)})"
    return _stated(column, attribute)


def _stated(column: HotColumn, attribute: Attribute) -> str:
    names = [*column.attributes, *_foreign(column.attributes)]
    if column.name == "Tool":
        names.extend(TOOL_NAME_FALLBACKS)
    stated = [attribute(name) for name in names]
    its_own = [name for name, means in CLAUDE_CODE_NAMES.items() if means in column.attributes and name not in NAMES]
    stated.extend(f"if({_CLAUDE_CODE}, {attribute(name)}, '')" for name in its_own)
    return _typed(column, _first(stated))


def _input_tokens(attribute: Attribute) -> str:
    """Input with cached tokens, which some count apart: Claude Code's own names, and who states more cached than input."""
    columns = {column.name: column for column in HOT_COLUMNS}
    said = _stated(columns["InputTokens"], attribute)
    cached = " + ".join(
        f"ifNull(greatest({_stated(columns[name], attribute)}, 0), 0)"
        for name in ("CacheReadTokens", "CacheWriteTokens")
    )
    apart = f"({_CLAUDE_CODE} AND {attribute(c.GEN_AI_USAGE_INPUT_TOKENS)} = '')"
    return f"({said}) + if({apart} OR ifNull(({said}) < ({cached}), 0), {cached}, 0)"


def _foreign(ours: Iterable[str]) -> list[str]:
    wanted = list(ours)
    tables = (NAMES, WEAK_NAMES)
    found = [name for table in tables for name, means in table.items() if means in wanted and name not in wanted]
    return [*found, EITHER_MODEL] if c.GEN_AI_REQUEST_MODEL in wanted else found


def _first(expressions: Iterable[str]) -> str:
    stated = list(expressions)
    if len(stated) == 1:
        return stated[0]
    unless_empty = ", ".join(f"nullIf({one}, '')" for one in stated)
    return f"coalesce({unless_empty}, '')"


def _typed(column: HotColumn, text: str) -> str:
    if column.type == _COUNT:
        return f"toInt64OrNull({text})"
    if column.type == _AMOUNT:
        return f"toFloat64OrNull({text})"
    return text


def _operation(attribute: Attribute) -> str:
    said = _first(map(attribute, OPERATION_NAMES))
    known = f"transform(lower({said}), {_list(OPERATIONS_BY_VALUE)}, {_list(OPERATIONS_BY_VALUE.values())}, {said})"
    named = {name: operation for name, (operation, _) in SPAN_NAMES.items() if operation}
    by_name = f"transform(toString(SpanName), {_list(named)}, {_list(named.values())}, '')"
    return f"if({said} != '', {known}, {by_name})"


def _step_kind(attribute: Attribute) -> str:
    kinds = KINDS_BY_OPERATION
    by_operation = f"transform({_operation(attribute)}, {_list(kinds)}, {_list(kinds.values())}, '')"
    named = {name: kind for name, (_, kind) in SPAN_NAMES.items() if kind}
    by_name = f"transform(toString(SpanName), {_list(named)}, {_list(named.values())}, '')"
    return f"coalesce(nullIf({attribute(c.STEP_KIND)}, ''), nullIf({by_name}, ''), {by_operation})"


def _command(attribute: Attribute) -> str:
    return _first(map(attribute, (c.COMMAND_NAME, *_foreign((c.COMMAND_NAME,)))))


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(quoted(text) for text in texts)}]"
