"""Attributes in, text for a map of texts and what the text stands for out; and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_perfopt.signal.record import NO_ATTRIBUTES, Attributes, AttributeValue

Types = dict[str, str]
_INT, _FLOAT, _BOOL, _TUPLE, _LIST = "i", "f", "b", "t", "l"


def as_text(attributes: Attributes, types: Types) -> dict[str, str]:
    """Return every value as the Collector's exporter would write it; `types` gets a letter for what is no text."""
    texts: dict[str, str] = {}
    for name, value in attributes.items():
        if type(value) is str:
            texts[name] = value
        else:
            texts[name], types[name] = _text_of(value)
    return texts


def _text_of(value: AttributeValue) -> tuple[str, str]:
    if isinstance(value, bool):
        return ("true" if value else "false"), _BOOL
    if isinstance(value, int):
        return str(value), _INT
    if isinstance(value, float):
        return repr(value), _FLOAT
    return json.dumps(list(value)), _TUPLE if isinstance(value, tuple) else _LIST


def from_text(texts: Mapping[str, str], types: Mapping[str, str]) -> Attributes:
    """Return the attributes that `as_text` was given."""
    if not texts:
        return NO_ATTRIBUTES
    found: dict[str, AttributeValue] = dict(texts)
    for name, kind in types.items():
        found[name] = _READERS[kind](texts[name])
    return found


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    _INT: int,
    _FLOAT: float,
    _BOOL: lambda text: text == "true",
    _TUPLE: lambda text: tuple(json.loads(text)),
    _LIST: json.loads,
}
