"""A tool call that has just returned in, what describes its span later out: everything mutable is copied now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.trace import Span

from otel_perfopt import conventions as c
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.finisher import Finisher
from otel_perfopt.signal.emit.snapshot import Snapshot, TooLargeError, take

LARGE_BYTES: Final = 4096
MAX_TEXT_CHARS: Final = 4 << 20

# Arguments and result in, span attributes out.
Description = Callable[[object, object], dict[str, Any]]


class LateDescription:
    """Called by the finisher with the span that is about to end."""

    __slots__ = ("_attributes", "_finisher", "_large", "arguments", "describe", "result")

    def __init__(
        self, finisher: Finisher, describe: Description, arguments: Snapshot, result: Snapshot, *, large: bool
    ) -> None:
        self._finisher = finisher
        self._large = large
        self._attributes: Mapping[str, Any] = {}
        self.describe = describe
        self.arguments = arguments
        self.result = result

    def with_attributes(self, attributes: Mapping[str, Any]) -> LateDescription:
        """Have these set as well; they win."""
        self._attributes = dict(attributes) if attributes else attributes
        return self

    def __call__(self, span: Span) -> None:
        """Set the attributes; gives the place of a large one back."""
        try:
            span.set_attributes({**self.describe(self.arguments.value(), self.result.value()), **self._attributes})
        finally:
            self.discard()

    def discard(self) -> None:
        """Give the place of a large one back."""
        if self._large:
            self._large = False
            self._finisher.release_large()


def described_later(
    finisher: Finisher, describe: Description, arguments: object, result: object
) -> LateDescription | None:
    """Return what describes the call later; None where it is too large or cannot be copied."""
    try:
        kept = take(result)
        if kept.size > MAX_TEXT_CHARS:
            return None
        asked = take(arguments)
        large = kept.size + asked.size > LARGE_BYTES
        if large and not finisher.reserve_large():
            return None
        return LateDescription(finisher, describe, asked, kept, large=large)
    except TooLargeError:
        return None
    except Exception as error:  # odd values of the host: cycles, dictionaries changed meanwhile
        _note(error)
        return None


def _note(error: Exception) -> None:
    if not isinstance(error, (ValueError, TypeError, RuntimeError, RecursionError)):
        fault("tool snapshot", error)


UNDESCRIBED: Final[Mapping[str, Any]] = {c.DATAFLOW_TRUNCATED: True}
