"""A span's attributes in the words of its instrumentation in, the same in our vocabulary and without content out."""

from __future__ import annotations

from typing import Any, Final

from otel_perfopt import conventions as c
from otel_perfopt.signal.content_facts import arguments_in, is_schema, openinference_call, result_in, structure
from otel_perfopt.signal.dialect_table import (
    ARGUMENT_NAMES,
    CLAUDE_CODE_CONTENT,
    CLAUDE_CODE_NAMES,
    CLAUDE_CODE_PREFIX,
    CLAUDE_CODE_SCOPE,
    CONTENT_NAMES,
    CONTENT_PREFIXES,
    EITHER_MODEL,
    FINISH_REASONS,
    KINDS_BY_OPERATION,
    MCP_METHODS,
    MILLISECONDS,
    NAMES,
    OPERATION_NAMES,
    OPERATIONS_BY_VALUE,
    RESULT_NAMES,
    SPAN_NAMES,
    TOOL_NAME_FALLBACKS,
    TOOL_SCHEMA_OR_ARGUMENTS,
    WEAK_NAMES,
)
from otel_perfopt.signal.digest import content_digest, flow_list
from otel_perfopt.signal.record import Attributes, AttributeValue
from otel_perfopt.signal.resource import resource_name
from otel_perfopt.signal.tool_effects import claude_code_effects

MAX_FLOW_VALUES: Final = 4096
CHARS_PER_TOKEN: Final = 4
_CONTENT_STARTS: Final = frozenset(prefix.split(".", 1)[0] for prefix in CONTENT_PREFIXES)


def normalise(name: str, attributes: Attributes, scope: str = "") -> dict[str, AttributeValue]:
    """Return the attributes under the names of `conventions`, whatever instrumentation wrote them.

    `name` is the span's, `scope` its instrumentation scope's; Claude Code's everyday words (`model`)
    are read on its spans only. Official GenAI names win over others;
    what is not known is kept as it is. `perfopt.step.kind` is added where operation or kind decide
    it; an agent's own span has none, since whether it is a command depends on what encloses it.
    Prompts, replies, arguments and results are taken out: a tool call keeps their digests and
    specific values. Input tokens include cached ones afterwards. Never raises on odd values.
    """
    found: dict[str, AttributeValue] = {}
    translated: dict[str, AttributeValue] = {}
    its_own = name.startswith(CLAUDE_CODE_PREFIX) or scope.startswith(CLAUDE_CODE_SCOPE)
    table, content = (CLAUDE_CODE_NAMES, CLAUDE_CODE_CONTENT) if its_own else (NAMES, CONTENT_NAMES)
    for key, value in attributes.items():
        ours = table.get(key)
        if ours is not None:
            translated.setdefault(ours, value)
        elif key not in content and not _is_content(key):
            found[key] = value
    _add_missing(found, translated)
    _add_weak(found, attributes)
    _add_operation(found, name, attributes)
    if found.get(c.STEP_KIND) == c.STEP_TOOL:
        _add_tool(found, name, attributes)
    _scale(found, attributes)
    if its_own and attributes.get("success") in (False, "false"):
        found.setdefault(c.ERROR_TYPE, "error")
    if c.GEN_AI_SYSTEM_INSTRUCTIONS in attributes:
        found.setdefault(c.PROMPT_DIGEST, content_digest(attributes[c.GEN_AI_SYSTEM_INSTRUCTIONS]))
    _include_cached(found, apart=its_own and c.GEN_AI_USAGE_INPUT_TOKENS not in attributes)
    return found


def _add_missing(found: dict[str, AttributeValue], more: dict[str, AttributeValue]) -> None:
    for key, value in more.items():
        found.setdefault(key, value)


def _add_weak(found: dict[str, AttributeValue], attributes: Attributes) -> None:
    """Add what counts only where nothing else says it, and say why the reply ended in the conventions' words."""
    if EITHER_MODEL in found:
        del found[EITHER_MODEL]
        _add_missing(found, openinference_call(attributes))
    for key, ours in WEAK_NAMES.items():
        if key in found:
            found.setdefault(ours, found.pop(key))
    if c.GEN_AI_RESPONSE_FINISH_REASONS in found:
        found[c.GEN_AI_RESPONSE_FINISH_REASONS] = _finish_reasons(found[c.GEN_AI_RESPONSE_FINISH_REASONS])


def _is_content(key: str) -> bool:
    start = key.split(".", 1)[0]
    return start in _CONTENT_STARTS and key.startswith(CONTENT_PREFIXES)


def _add_operation(found: dict[str, AttributeValue], name: str, attributes: Attributes) -> None:
    """Decide the operation (official, by the family's own kind, or by span name) and the step's kind."""
    operation, kind = SPAN_NAMES.get(name, ("", ""))
    method = attributes.get(c.MCP_METHOD_NAME)
    if isinstance(method, str):
        operation, kind = MCP_METHODS.get(method, (operation, kind))
    for source in OPERATION_NAMES:
        said = attributes.get(source)
        if isinstance(said, str) and said:
            operation = OPERATIONS_BY_VALUE.get(said.lower(), said if source == c.GEN_AI_OPERATION_NAME else "")
            break
    if operation:
        found[c.GEN_AI_OPERATION_NAME] = operation
    kind = kind or KINDS_BY_OPERATION.get(operation, "")
    if not kind and not operation and attributes.get("llm.request.type") in ("chat", "completion"):
        kind = c.STEP_INFERENCE
    if kind:
        found.setdefault(c.STEP_KIND, kind)


def _add_tool(found: dict[str, AttributeValue], name: str, attributes: Attributes) -> None:
    if c.GEN_AI_TOOL_NAME not in found:
        tool = _first(attributes, TOOL_NAME_FALLBACKS) or _mcp_tool(name, attributes)
        if isinstance(tool, str) and tool:
            found[c.GEN_AI_TOOL_NAME] = tool
    if name.startswith(CLAUDE_CODE_PREFIX):
        found.setdefault(c.TOOL_EFFECTS, claude_code_effects(str(found.get(c.GEN_AI_TOOL_NAME, ""))))
    inputs: tuple[str, ...] = ()
    arguments = _arguments(attributes)
    if arguments is not None:
        found.setdefault(c.ARGUMENTS_DIGEST, content_digest(arguments))
        inputs, cut = flow_list(arguments, MAX_FLOW_VALUES)
        _add_flow(found, c.DATAFLOW_INPUTS, inputs, cut)
        resource = resource_name(arguments)
        if resource:
            found.setdefault(c.TOOL_RESOURCE, resource)
    result = _first(attributes, RESULT_NAMES)
    if result is not None:
        result, call_id = result_in(result)
        if call_id:
            found.setdefault(c.GEN_AI_TOOL_CALL_ID, call_id)
        found.setdefault(c.RESULT_DIGEST, content_digest(structure(result)))
        found.setdefault(c.RESULT_TOKENS, -(-len(str(result)) // CHARS_PER_TOKEN))
        outputs, cut = flow_list(result, MAX_FLOW_VALUES)
        told = frozenset(inputs)
        _add_flow(found, c.DATAFLOW_OUTPUTS, tuple(value for value in outputs if value not in told), cut)


def _add_flow(found: dict[str, AttributeValue], name: str, values: tuple[str, ...], cut: bool) -> None:
    if name not in found:
        found[name] = values
        found[c.DATAFLOW_TRUNCATED] = cut or bool(found.get(c.DATAFLOW_TRUNCATED))


def _first(attributes: Attributes, names: tuple[str, ...]) -> AttributeValue | None:
    for name in names:
        value = attributes.get(name)
        if value is not None and value != "":
            return value
    return None


def _arguments(attributes: Attributes) -> Any:
    """Return the structure of a tool call's arguments, or None where none are recorded."""
    for name in ARGUMENT_NAMES:
        value = attributes.get(name)
        if value is None or value == "":
            continue
        said = arguments_in(value)
        if name != TOOL_SCHEMA_OR_ARGUMENTS or not is_schema(said):
            return said
    return None


def _mcp_tool(name: str, attributes: Attributes) -> str:
    """MCP's clients name the tool in the span's name only: `MCP send tools/call NAME`, `tools/call NAME`."""
    if attributes.get(c.MCP_METHOD_NAME) != c.MCP_TOOLS_CALL:
        return ""
    return name.partition(c.MCP_TOOLS_CALL)[2].strip()


def _finish_reasons(said: AttributeValue) -> AttributeValue:
    """Return why the reply ended in the conventions' words; one word of text becomes a list of one."""
    reasons = [said] if isinstance(said, str) else said
    if not isinstance(reasons, (list, tuple)):
        return said
    return tuple(FINISH_REASONS.get(str(reason).lower(), str(reason)) for reason in reasons)


def _scale(found: dict[str, AttributeValue], attributes: Attributes) -> None:
    for name, ours in MILLISECONDS.items():
        value = attributes.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found.setdefault(ours, value / 1000)


def _include_cached(found: dict[str, AttributeValue], *, apart: bool) -> None:
    """Make input tokens include cached ones where the source counts them apart.

    Claude Code's own names count them apart. For any other source it is certain only when the
    cached tokens alone are more than the input.
    """
    said = found.get(c.GEN_AI_USAGE_INPUT_TOKENS)
    cached = _count(found, c.GEN_AI_USAGE_CACHE_READ_TOKENS) + _count(found, c.GEN_AI_USAGE_CACHE_WRITE_TOKENS)
    if not cached or not isinstance(said, int) or isinstance(said, bool):
        return
    if apart or said < cached:
        found[c.GEN_AI_USAGE_INPUT_TOKENS] = said + cached


def _count(found: dict[str, AttributeValue], name: str) -> int:
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
