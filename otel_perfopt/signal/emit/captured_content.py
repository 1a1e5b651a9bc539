"""Content that is put on spans in, what the host's own hook leaves of it out; where the hook fails, nothing is left."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from otel_perfopt.signal.emit.faults import fault

# The attribute's name and the content as text in; the text that may go out, or None where none may.
Redact = Callable[[str, str], "str | None"]

_redact: Redact | None = None


def redact_with(hook: Redact | None) -> None:
    """Have all content pass `hook` before it is put on a span; None lets it through as it is.

    It is called by the thread that ends spans, off the request path; by whoever ends the span where
    another processor exports each span at once, or the queue is full.
    """
    global _redact  # noqa: PLW0603 - one a process, as what it guards
    _redact = hook


def redact_by(name: str) -> None:
    """Have all content pass the function named (`module:function`), imported when there is first content; empty: none."""
    redact_with(_Named(name) if name else None)


def redacted(content: Mapping[str, str]) -> dict[str, str]:
    """Return what may go out, by attribute; never raises, and a fault of the hook drops the content it was given."""
    hook = _redact
    if hook is None:
        return dict(content)
    found = {}
    for name, text in content.items():
        left = _left(hook, name, text)
        if left is not None:
            found[name] = left
    return found


def _left(hook: Redact, name: str, text: str) -> str | None:
    try:
        left: Any = hook(name, text)
    except Exception as error:
        fault("redaction", error)
        return None
    if left is not None and not isinstance(left, str):
        fault("redaction", TypeError(f"a hook gives text or None, not {type(left).__name__}"))
        return None
    return left


class _Named:
    """A function by its name; as long as it cannot be imported, nothing passes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._function: Redact | None = None

    def __call__(self, name: str, text: str) -> str | None:
        if self._function is None:
            module, _, path = self._name.partition(":")
            self._function = attrgetter(path)(importlib.import_module(module))
        return self._function(name, text)
