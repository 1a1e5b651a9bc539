"""What questions ask of a span: a store in, the SQL that selects its fields, each span once, out."""

from __future__ import annotations

from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import StepKind
from otel_perfopt.execution.span_kind import KINDS_BY_OPERATION, RUNNING_OPERATIONS
from otel_perfopt.measure.store.hot_columns import quoted
from otel_perfopt.measure.store.telemetry_store import TelemetryStore

# Kinds as small numbers; RUNS is an agent's or a workflow's span, a command only where none encloses it.
COMMAND, RUNS, THINKING, INFERENCE, TOOL, RETRIEVAL, MODULE_LOAD, OTHER = range(1, 9)
KINDS: Final = {
    StepKind.COMMAND: COMMAND,
    StepKind.THINKING: THINKING,
    StepKind.INFERENCE: INFERENCE,
    StepKind.TOOL: TOOL,
    StepKind.RETRIEVAL: RETRIEVAL,
    StepKind.MODULE_LOAD: MODULE_LOAD,
    StepKind.OTHER: OTHER,
}
# What a step is in the end; RUNS has become one of these by then.
STEP_KINDS: Final = {code: kind for kind, code in KINDS.items()}

_ERRORS: Final = "StatusCode IN ('Error', 'STATUS_CODE_ERROR')"
_REFUSED: Final = "'user_rejected'"

_FIELDS: Final = """SELECT TraceId, cityHash64(SpanId) AS Id,
if(ParentSpanId IN ('', '0000000000000000'), 0, cityHash64(ParentSpanId)) AS Up,
toUnixTimestamp64Nano(Timestamp) AS Start, Start + if(Duration < 4611686018427387904, toInt64(Duration), 0) AS End,
{kind} AS Kind, {operation} AS SaidOperation,
{command} AS SaidCommand, {agent} AS SaidAgent, {model} AS SaidModel, {name} AS Name,
multiIf(SaidCommand != '', toString(SaidCommand), SaidAgent != '', toString(SaidAgent), toString(SpanName)) AS Called,
SpanId,
if({error} != '', {error}, if({errors}, if({from_status} AND StatusMessage != '', StatusMessage, 'error'), '')) AS Error,
Error = {refused} OR {waits} = 'true' OR endsWith(Name, '.blocked_on_user') OR endsWith(Name, '.wait_for_user')
AS Waits, {estimated} = 'true' AS Estimated, {untimed} = 'true' AS Untimed,
{effects} AS SaidEffects, if({requested} = '', 0, cityHash64({requested})) AS Asker,
{arguments} AS Arguments, {result} AS Result, {resource} AS Place, {conversation} AS Conversation,
{outcome} AS SaidOutcome, ServiceName AS Service, ScopeName AS Scope,
{input} AS Input, {output} AS Output, {read} AS Read, {write} AS Written, {reasoning} AS Reasoning, {resent} AS Resent,
{result_tokens} AS Answer, {cost} AS Cost
FROM {spans}
WHERE Timestamp >= fromUnixTimestamp64Nano({{look_back:Int64}})
AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}})"""
# Of a span that a Collector delivered twice, the state that lasts longest counts.
_ONCE: Final = """(SELECT * FROM {spans} WHERE Timestamp >= fromUnixTimestamp64Nano({{look_back:Int64}})
AND Timestamp <= fromUnixTimestamp64Nano({{last:Int64}}) ORDER BY Duration DESC LIMIT 1 BY TraceId, SpanId)"""


def span_fields(store: TelemetryStore) -> str:
    """Return the SELECT of every span between the bound `look_back` and `last` (Unix ns)."""
    hot, attribute = store.hot, store.variant.attribute
    return _FIELDS.format(
        kind=_kind(store),
        operation=hot("Operation"),
        command=hot("Command"),
        agent=hot("Agent"),
        model=hot("Model"),
        name=_name(store),
        error=hot("ErrorType"),
        errors=_ERRORS,
        from_status="1" if store.variant.ours else "0",
        refused=_REFUSED,
        waits=attribute(c.WAITS_FOR_USER),
        estimated=attribute(c.DURATION_ESTIMATED),
        untimed=attribute(c.UNTIMED),
        effects=hot("Effects"),
        requested=hot("RequestedBy"),
        arguments=hot("ArgumentsDigest"),
        result=hot("ResultDigest"),
        resource=hot("Resource"),
        conversation=hot("ConversationId"),
        outcome=hot("Outcome"),
        input=hot("InputTokens"),
        output=hot("OutputTokens"),
        read=hot("CacheReadTokens"),
        write=hot("CacheWriteTokens"),
        reasoning=hot("ReasoningTokens"),
        resent=hot("ResentTokens"),
        result_tokens=hot("ResultTokens"),
        cost=hot("CostUsd"),
        spans=spans_once(store),
    )


def spans_once(store: TelemetryStore) -> str:
    """Return what to select FROM: a foreign table's duplicate rows are folded here, ours by the store."""
    if store.variant.ours:
        return store.spans
    return _ONCE.format(spans=store.spans)


def _kind(store: TelemetryStore) -> str:
    said, operation = store.hot("StepKind"), store.hot("Operation")
    by_operation = {name: KINDS[kind] for name, kind in KINDS_BY_OPERATION.items()}
    by_operation |= dict.fromkeys(sorted(RUNNING_OPERATIONS), RUNS)
    from_operation = _transform(operation, by_operation, OTHER)
    return _transform(said, {kind.value: code for kind, code in KINDS.items()}, from_operation)


def _transform(said: str, codes: dict[str, int], otherwise: object) -> str:
    names = ", ".join(quoted(name) for name in codes)
    numbers = ", ".join(str(code) for code in codes.values())
    return f"toUInt8(transform(toString({said}), [{names}], [{numbers}], {otherwise}))"


def _name(store: TelemetryStore) -> str:
    """Return the SQL of `span_kind.name_of` for a span that is no run's command."""
    tool = f"if({store.hot('Tool')} != '', {store.hot('Tool')}, "
    plain = "if(startsWith(SpanName, 'execute_tool') AND trimBoth(substring(SpanName, 13)) != '', "
    plain += "trimBoth(substring(SpanName, 13)), toString(SpanName))"
    model, source = store.hot("Model"), store.variant.attribute(c.GEN_AI_DATA_SOURCE_ID)
    retrieval = f"coalesce(nullIf({store.hot('Tool')}, ''), nullIf({source}, ''), nullIf({model}, ''), SpanName)"
    inference = f"if({model} != '', {model}, SpanName)"
    return (
        f"toString(multiIf(Kind = {TOOL}, {tool}{plain}), Kind = {INFERENCE}, {inference}, "
        f"Kind = {RETRIEVAL}, {retrieval}, SpanName))"
    )
