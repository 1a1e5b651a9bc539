"""The events of one prompt of a coding session in, gathered by model message and tool call; `turn_spans` writes it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

MAIN_THREAD: Final = ""

_TOKEN_KEYS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


@dataclass(slots=True)
class Usage:
    """Tokens of one model message; input excludes both cache counts, as Anthropic's API reports it."""

    input: int | None = None
    cache_write: int | None = None
    cache_read: int | None = None
    output: int | None = None

    def absorb(self, raw: object) -> None:
        """Take over what one line says: a message's lines repeat its usage, the last ones more completely."""
        if not isinstance(raw, Mapping):
            return
        counts = [raw.get(key) for key in _TOKEN_KEYS]
        self.input = _larger(self.input, counts[0])
        self.cache_write = _larger(self.cache_write, counts[1])
        self.cache_read = _larger(self.cache_read, counts[2])
        self.output = _larger(self.output, counts[3])

    @property
    def total_input(self) -> int | None:
        """Input tokens including those read from and written to the cache; None when nothing was said."""
        if self.input is None and self.cache_read is None and self.cache_write is None:
            return None
        return (self.input or 0) + (self.cache_read or 0) + (self.cache_write or 0)


def _larger(known: int | None, said: object) -> int | None:
    if not isinstance(said, int) or isinstance(said, bool) or said < 0:
        return known
    return said if known is None or said > known else known


@dataclass(slots=True)
class ToolUse:
    """One tool call: asked for at `asked_ns`, answered at `end_ns` (None: no answer was recorded)."""

    call_id: str
    name: str
    message_id: str
    thread: str
    asked_ns: int
    line: int
    arguments: Mapping[str, Any] | None
    end_ns: int | None = None
    error_type: str | None = None
    result: tuple[tuple[str, Any], ...] = ()
    agent_id: str = ""
    agent_name: str = ""


@dataclass(slots=True)
class Message:
    """One reply of the model, streamed over several lines; thinking blocks as (start, end, line)."""

    message_id: str
    thread: str
    start_ns: int
    end_ns: int
    line: int
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    stop_reason: str = ""
    error_type: str | None = None
    thinking: list[tuple[int, int, int]] = field(default_factory=list)
    tools: list[ToolUse] = field(default_factory=list)
    starts_afresh: bool = False


@dataclass(slots=True)
class Thread:
    """The main conversation, or one subagent: `last_ns` is when it last heard something, `path` its own file if any."""

    key: str
    last_ns: int
    parent_call: str = ""
    path: str = ""


@dataclass(slots=True)
class Turn:
    """One prompt and everything that followed it."""

    name: str
    key: str
    session: str
    start_ns: int
    end_ns: int
    line: int
    prompt: str = ""
    folder: str = ""
    version: str = ""
    local: bool = False
    interrupted: bool = False
    active_ms: int | None = None
    threads: dict[str, Thread] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    tools: dict[str, ToolUse] = field(default_factory=dict)
    compactions: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    sidechain_lines: dict[str, str] = field(default_factory=dict)
    afresh: bool = False

    def thread(self, key: str, moment_ns: int) -> Thread:
        """Return the thread of that key, beginning it at `moment_ns` if it is new."""
        thread = self.threads.get(key)
        if thread is None:
            start = self.start_ns if key == MAIN_THREAD else moment_ns
            thread = self.threads[key] = Thread(key, min(start, moment_ns))
        return thread

    def heard(self, thread: Thread, moment_ns: int) -> None:
        """Note that something happened in `thread`."""
        thread.last_ns = max(thread.last_ns, moment_ns)
        self.end_ns = max(self.end_ns, moment_ns)

    def message(self, message_id: str, thread: Thread, moment_ns: int, line: int) -> Message:
        """Return the message of that id; a new one began when its thread last heard something."""
        message = self.messages.get(message_id)
        if message is None:
            start = min(thread.last_ns, moment_ns)
            message = self.messages[message_id] = Message(message_id, thread.key, start, start, line)
            if thread.key == MAIN_THREAD:
                message.starts_afresh, self.afresh = self.afresh, False
        return message
