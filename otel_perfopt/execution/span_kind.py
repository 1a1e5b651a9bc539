"""What kind of step a span is: a span's attributes in, a `StepKind` and a name out."""

from __future__ import annotations

from otel_perfopt import conventions as c
from otel_perfopt.execution.model import StepKind
from otel_perfopt.signal.record import Attributes, SpanRecord

KINDS_BY_WORD = {kind.value: kind for kind in StepKind}

KINDS_BY_OPERATION = {
    c.OPERATION_CHAT: StepKind.INFERENCE,
    c.OPERATION_GENERATE_CONTENT: StepKind.INFERENCE,
    c.OPERATION_TEXT_COMPLETION: StepKind.INFERENCE,
    c.OPERATION_EXECUTE_TOOL: StepKind.TOOL,
    c.OPERATION_RETRIEVAL: StepKind.RETRIEVAL,
    c.OPERATION_EMBEDDINGS: StepKind.RETRIEVAL,
    c.OPERATION_PLAN: StepKind.THINKING,
}

# What runs something, and so is a command where nothing encloses it; making an agent runs nothing.
RUNNING_OPERATIONS = frozenset({c.OPERATION_INVOKE_AGENT, c.OPERATION_INVOKE_WORKFLOW})

_NAMES_BY_KIND = {
    StepKind.COMMAND: (c.COMMAND_NAME, c.GEN_AI_AGENT_NAME),
    StepKind.INFERENCE: (c.GEN_AI_REQUEST_MODEL, c.GEN_AI_RESPONSE_MODEL),
    StepKind.TOOL: (c.GEN_AI_TOOL_NAME,),
    StepKind.RETRIEVAL: (c.GEN_AI_TOOL_NAME, c.GEN_AI_DATA_SOURCE_ID, c.GEN_AI_REQUEST_MODEL),
    StepKind.MODULE_LOAD: (c.MODULE_NAME,),
    StepKind.OTHER: (c.GEN_AI_AGENT_NAME,),
}


def text(attributes: Attributes, *names: str) -> str:
    """Return the first non-empty string among the named attributes, or an empty one."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def is_agent(span: SpanRecord) -> bool:
    """Tell whether the span is a run of an agent's own, by its operation; a workflow or chain is a part of one."""
    return text(span.attributes, c.GEN_AI_OPERATION_NAME) == c.OPERATION_INVOKE_AGENT


def is_workflow(span: SpanRecord) -> bool:
    """Tell whether the span is a workflow's or a chain's, by its operation."""
    return text(span.attributes, c.GEN_AI_OPERATION_NAME) == c.OPERATION_INVOKE_WORKFLOW


def kind_of(span: SpanRecord, *, inside_command: bool) -> StepKind:
    """Return the span's kind; an agent's span is a command only when no command encloses it."""
    stated = KINDS_BY_WORD.get(text(span.attributes, c.STEP_KIND))
    if stated is not None:
        return stated
    operation = text(span.attributes, c.GEN_AI_OPERATION_NAME)
    if operation in RUNNING_OPERATIONS:
        return StepKind.OTHER if inside_command else StepKind.COMMAND
    return KINDS_BY_OPERATION.get(operation, StepKind.OTHER)


def name_of(span: SpanRecord, kind: StepKind) -> str:
    """Return the tool, model, module or command the span is about; the span's own name where none is stated."""
    stated = text(span.attributes, *_NAMES_BY_KIND.get(kind, ()))
    if stated:
        return stated
    if kind is StepKind.TOOL:
        return span.name.removeprefix(c.OPERATION_EXECUTE_TOOL).strip() or span.name
    return span.name
