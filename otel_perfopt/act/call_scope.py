"""What a call is about: a tool call in, whose it is and the values it names out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from otel_perfopt.signal.calls import ToolCall

MAX_VALUES = 64
MAX_TEXT = 256
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class CallScope:
    """Whose call it is, and the texts and whole numbers among its arguments.

    `run` and `conversation` are of the run it was made in (0 and empty outside any). `values` is None
    where the arguments were too many to list, and empty where they name nothing: then the call may be
    about anything.
    """

    run: int = 0
    conversation: str = ""
    values: frozenset[str | int] | None = None

    def is_of_same(self, other: CallScope) -> bool:
        """Tell whether both calls are known to be of one run or one conversation, or one of them is of nobody."""
        if not self.run or not other.run or self.run == other.run:
            return True
        return bool(self.conversation) and self.conversation == other.conversation

    def may_meet(self, other: CallScope) -> bool:
        """Tell whether both calls may be about the same thing: they name a common value, or one names nothing."""
        return not self.values or not other.values or not self.values.isdisjoint(other.values)


ANYTHING = CallScope()


def scope_of(call: ToolCall) -> CallScope:
    """Return whose call it is and what it names."""
    run = call.run
    values = _values((*call.args, *call.kwargs.values()))
    return CallScope(id(run) if run is not None else 0, run.conversation_id if run is not None else "", values)


def _values(arguments: Iterable[object]) -> frozenset[str | int] | None:
    found: set[str | int] = set()
    waiting = [(argument, 0) for argument in arguments]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, (bool, float)) or value is None:
            continue
        if isinstance(value, (str, int)):
            # A long text names no thing; as one value it would only ever equal itself.
            if not isinstance(value, str) or len(value) <= MAX_TEXT:
                found.add(value)
        elif isinstance(value, (list, tuple, Mapping)) and depth < _MAX_DEPTH:
            items = value.values() if isinstance(value, Mapping) else value
            waiting += [(item, depth + 1) for item in items]
        else:
            return None
        if len(found) + len(waiting) > MAX_VALUES:
            return None
    return frozenset(found)
