"""A streamed reply as the agent reads it: the client's iterator in, the same events out, and the reply told at the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from otel_perfopt.signal.calls import ToolRequest
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.model_calls import ModelCall, ModelReply


class StreamedReply(Protocol):
    """A streamed reply, put together event by event."""

    def add(self, event: Any, now_ns: int, /) -> bool:
        """Take an event that arrived at `now_ns`; True when the tool calls are complete with it."""
        ...

    def requests(self) -> tuple[ToolRequest, ...]:
        """Return the tool calls asked for so far."""
        ...

    def ready(self) -> int:
        """Return how many of them, from the first on, are complete while the reply still streams."""
        ...

    def reply(self) -> ModelReply | None:
        """Return what has arrived; None when nothing has."""
        ...


class Feed:
    """A stream as it is read: every event is looked at, and a fault ends the looking, not the stream."""

    __slots__ = ("_call", "_last_ns", "_name", "_ready", "_stream")

    def __init__(self, name: str, stream: StreamedReply, call: ModelCall) -> None:
        self._name = name
        self._call = call
        self._stream: StreamedReply | None = stream
        self._last_ns: int | None = None
        self._ready = 0

    def take(self, event: object) -> None:
        """Look at one event; never raises."""
        stream = self._stream
        if stream is None:
            return
        try:
            self._last_ns = now = time.time_ns()
            if stream.add(event, now):
                self._call.hand_on(stream.requests())
            elif stream.ready() > self._ready:
                self._ready = stream.ready()
                self._call.hand_on_part(stream.requests()[: self._ready])
        except Exception as error:
            fault(f"{self._name} stream", error)
            self._stream = None

    def end(self, error: BaseException | None, *, complete: bool) -> None:
        """Take the reply as far as it came; one that was not read to its end ended with its last event."""
        reply: ModelReply | None = None
        try:
            if self._stream is not None:
                reply = self._stream.reply()
        except Exception as own:
            fault(f"{self._name} stream", own)
        self._call.end(reply, error, None if complete or error is not None else self._last_ns)

    def __del__(self) -> None:
        # A stream that nobody ever read was thrown away: its generator never ran, and so never ends the call.
        self._call.end(None)


def observed(iterator: Iterator[Any], feed: Feed) -> Iterator[Any]:
    """Yield what a stream yields, and let `feed` look at it."""
    try:
        for event in iterator:
            feed.take(event)
            yield event
    except GeneratorExit:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
        feed.end(None, complete=False)
        raise
    except BaseException as error:
        feed.end(error, complete=False)
        raise
    feed.end(None, complete=True)


async def observed_async(iterator: AsyncIterator[Any], feed: Feed) -> AsyncIterator[Any]:
    """Do the same for an asynchronous stream."""
    try:
        async for event in iterator:
            feed.take(event)
            yield event
    except GeneratorExit:
        aclose = getattr(iterator, "aclose", None)
        feed.end(None, complete=False)
        if aclose is not None:
            await aclose()
        raise
    except BaseException as error:
        feed.end(error, complete=False)
        raise
    feed.end(None, complete=True)
