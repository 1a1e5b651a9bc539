"""How much of a conversation's history is sent: messages in, the number of old ones to leave out out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_perfopt.signal.emit.sent_content import getter, length


def history_span(messages: Sequence[Any], max_chars: int) -> tuple[int, int]:
    """Return the range of messages to leave out: whole turns from the oldest on, (0, 0) for none.

    The cut moves in steps of half the bound, so that a growing conversation keeps its prefix for many
    calls before it changes. The first instructions and the turn under way always stay.
    """
    starts = [index for index, message in enumerate(messages) if _begins_turn(message)]
    if max_chars <= 0 or len(starts) < 2:
        return 0, 0
    first, current = starts[0], starts[-1]
    sizes = [length(message) for message in messages[first:current]]
    excess = sum(sizes) - max_chars
    if excess <= 0:
        return 0, 0
    step = max(1, max_chars // 2)
    to_drop = -(-excess // step) * step
    dropped = 0
    for index in range(first, current):
        if dropped >= to_drop and index in starts:
            return first, index
        dropped += sizes[index - first]
    return first, current


def _begins_turn(message: object) -> bool:
    """Tell whether a user speaks; results of tools in a user's message are no new turn."""
    get = getter(message)
    if get("role") != "user":
        return False
    content = get("content")
    if isinstance(content, (list, tuple)):
        return not any(getter(part)("type") == "tool_result" for part in content)
    return True
