"""A line of a Claude Code session in, the parts of it that are looked at out; whatever is odd is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from otel_perfopt.signal.digest import content_digest
from otel_perfopt.signal.read.turn import ToolUse, Turn

Record = Mapping[str, Any]
_SUBAGENT_TOOLS: Final = frozenset({"Task", "Agent"})


def tool_use_of(block: Record, message_id: str, thread: str, moment: int, line: int) -> ToolUse:
    """Return the call that a `tool_use` block asks for, at `moment` (Unix nanoseconds) on `line`."""
    arguments = block.get("input")
    return ToolUse(
        call_id=text_of(block.get("id")) or f"{message_id}:{line}",
        name=text_of(block.get("name")) or "unknown",
        message_id=message_id,
        thread=thread,
        asked_ns=moment,
        line=line,
        arguments=arguments if isinstance(arguments, dict) else None,
    )


def caller_of(turn: Turn, content: object) -> str:
    """Return the unanswered call that started a subagent: the one with its prompt, else the last."""
    wanted = content_digest(_plain(content))
    open_calls = [tool for tool in turn.tools.values() if tool.name in _SUBAGENT_TOOLS and tool.end_ns is None]
    for tool in open_calls:
        if content_digest((tool.arguments or {}).get("prompt")) == wanted:
            return tool.call_id
    return open_calls[-1].call_id if open_calls else ""


def content_of(record: Record) -> object:
    """Return the content of a line's message: text, a list of blocks, or anything else."""
    message = record.get("message")
    return message.get("content") if isinstance(message, dict) else None


def _plain(content: object) -> object:
    texts = [block.get("text") for block in blocks_of(content)]
    return texts[0] if texts else content


def blocks_of(content: object) -> Iterator[Record]:
    """Yield the blocks of a message's content; plain text has none."""
    if isinstance(content, list):
        for block in content:
            if isinstance(block, dict):
                yield block


def text_of(value: object) -> str:
    """Return a text as it is, and anything else as an empty one."""
    return value if isinstance(value, str) else ""
