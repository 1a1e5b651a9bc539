"""A report's parts with text as it was recorded in, the same parts with text that any screen may show out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

_T = TypeVar("_T")
# Names come from telemetry: an escape sequence would command the terminal, a control character breaks a drawing.
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN = {code: f"\\x{code:02x}" for code in _CONTROLS if chr(code) not in "\n\t"}
_SHOWN |= {code: f"\\u{code:04x}" for code in (*_BIDIRECTIONAL, 0xFFFE, 0xFFFF)}


def printable(part: _T) -> _T:
    """Return the part with every text in it, at any depth, written without characters that do something."""
    changed: Any = part
    if isinstance(part, str):
        changed = part.translate(_SHOWN).encode("utf-8", "backslashreplace").decode("utf-8")
    elif isinstance(part, Mapping):
        changed = {printable(key): printable(value) for key, value in part.items()}
    elif isinstance(part, (tuple, list, frozenset)):
        changed = type(part)(printable(item) for item in part)
    elif is_dataclass(part) and not isinstance(part, type):
        changed = replace(part, **{field.name: printable(getattr(part, field.name)) for field in fields(part)})
    return changed  # type: ignore[no-any-return]
