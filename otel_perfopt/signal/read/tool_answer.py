"""A tool_result block of a Claude Code session in, the answered tool call (time, digest, values, error) out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from otel_perfopt import conventions as names
from otel_perfopt.signal.digest import content_digest, flow_list
from otel_perfopt.signal.read.turn import ToolUse

MAX_OUTPUT_VALUES: Final = 4096
CHARS_PER_TOKEN: Final = 4
# A literal at its beginning makes the search several times as fast as an anchor would.
_LINE_NUMBERS: Final = re.compile(r"\n *\d+→")
_NUMBERED_TOOLS: Final = frozenset({"Read", "NotebookRead"})

# How each kind of failure starts; the first that fits names it.
_ERRORS: Final = (
    ("<tool_use_error>Sibling tool call errored", "sibling_error"),
    ("<tool_use_error>", "tool_use_error"),
    ("The user doesn't want to", "user_rejected"),
    ("[Request interrupted", "interrupted"),
    ("Exit code", "exit_code"),
    ("Command timed out", "timeout"),
)


def note_answer(tool: ToolUse, block: Mapping[str, Any], details: object, moment_ns: int) -> None:
    """Note in `tool` what its result says.

    `details` is the line's `toolUseResult`: what the program knows beside what the model is told.
    Only digests of content are kept. Result tokens are estimated at four characters each.
    """
    content = block.get("content")
    text = _text(content)
    tool.end_ns = moment_ns
    if block.get("is_error"):
        tool.error_type = _error_type(text)
    # Line numbers are the tool's decoration; as values they would match any other number.
    told = _LINE_NUMBERS.sub("\n", f"\n{text}")[1:] if tool.name in _NUMBERED_TOOLS else text
    outputs, cut = flow_list(told, MAX_OUTPUT_VALUES)
    tool.result = (
        (names.RESULT_DIGEST, content_digest(content)),
        (names.RESULT_TOKENS, -(-len(text) // CHARS_PER_TOKEN)),
        (names.DATAFLOW_OUTPUTS, outputs),
        (names.DATAFLOW_TRUNCATED, cut),
    )
    if isinstance(details, dict):
        _note_details(tool, details)


def _note_details(tool: ToolUse, details: Mapping[str, Any]) -> None:
    agent = details.get("agentId")
    if isinstance(agent, str):
        tool.agent_id = agent
    for key in ("durationMs", "totalDurationMs"):
        reported = details.get(key)
        if isinstance(reported, (int, float)) and not isinstance(reported, bool):
            tool.result += ((names.TOOL_EXECUTION_TIME, reported / 1000),)
            return


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (block.get("text") for block in content if isinstance(block, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def _error_type(text: str) -> str:
    for start, kind in _ERRORS:
        if text.startswith(start):
            return kind
    return "tool_error"
