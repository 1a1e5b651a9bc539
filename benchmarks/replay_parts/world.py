"""The world that recorded tools were in: calls in, what the recording says they would have given then out."""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from replay_parts.recorded_turn import Call, Conversation

from otel_perfopt.execution.model import ToolEffects
from otel_perfopt.signal.calls import RunContext, ToolCall
from otel_perfopt.signal.digest import content_digest

READ = ToolEffects.READ.value


class ToolFailed(Exception):  # noqa: N818 - named after what it is in the recording
    """A tool's failure as the agent was told of it."""


@dataclass(frozen=True, slots=True)
class NotRecorded:
    """What a call gives whose answer the recording does not hold: never equal to a recorded result."""

    tool: str
    epoch: int


@dataclass
class World:
    """One conversation's tools.

    The agent's own call gives what it gave in the recording. A call made early gives what the recording says of an
    equal call with as many writes (or calls of unknown effects) before it; where there is none, nothing that
    could pass for right. So whatever is handed to the agent can be held against what it got in the recording.
    """

    conversation: Conversation
    epoch: int = 0
    begun: int = -1
    early: int = 0
    made: int = 0
    _calls: list[Call] = field(init=False)
    _epochs: dict[int, int] = field(init=False, default_factory=dict)
    _equal: dict[tuple[str, str], list[Call]] = field(init=False, default_factory=lambda: defaultdict(list))
    _seconds: dict[str, float] = field(init=False, default_factory=dict)
    _functions: dict[str, Callable[..., Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._calls = self.conversation.calls
        writes = [call for call in self._calls if call.effects != READ]
        durations: dict[str, list[float]] = defaultdict(list)
        for call in self._calls:
            # Without a clock the order of the calls says what was before; with one, what had ended does.
            self._epochs[call.index] = sum(
                write.index < call.index and write.end_ns <= call.start_ns for write in writes
            )
            self._equal[self._key(call.tool, call.done.arguments)].append(call)
            durations[call.tool].append(call.seconds)
        self._seconds = {tool: statistics.median(values) for tool, values in durations.items()}
        for tool in self._seconds:
            self._functions[tool] = self._function(tool)

    def template(self, tool: str, run: RunContext | None = None) -> ToolCall | None:
        """Return a call of a tool of this conversation without arguments; None for one that it has not."""
        function = self._functions.get(tool)
        effects = next((call.effects for call in self._calls if call.tool == tool), "unknown")
        return None if function is None else ToolCall(tool, function, (), {}, run, effects=effects)

    async def own(self, call: Call) -> object:
        """Make a call that the agent makes, as it was in the recording."""
        self.made += 1
        await asyncio.sleep(call.seconds)
        if call.effects != READ:
            self.epoch += 1
        return _given(call)

    async def ahead(self, call: ToolCall) -> object:
        """Make a call that nobody has made yet: what an equal one gives while the world is as it is now."""
        self.made += 1
        self.early += 1
        equal = self._equal.get(self._key(call.tool, call.kwargs), [])
        now = [one for one in equal if self._epochs[one.index] == self.epoch]
        coming = next((one for one in now if one.index > self.begun), now[-1] if now else None)
        epoch = self.epoch
        await asyncio.sleep(self._seconds[call.tool] if coming is None else coming.seconds)
        return NotRecorded(call.tool, epoch) if coming is None else _given(coming)

    def _function(self, tool: str) -> Callable[..., Any]:
        async def function(**arguments: Any) -> object:
            return await self.ahead(ToolCall(tool, function, (), arguments))

        function.__name__ = tool
        return function

    @staticmethod
    def _key(tool: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
        return tool, content_digest(dict(arguments))


def _given(call: Call) -> object:
    if call.failed:
        raise ToolFailed(str(call.done.result))
    return call.done.result
