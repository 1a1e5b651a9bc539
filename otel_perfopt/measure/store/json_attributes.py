"""A JSON column's value in, attributes by their full names out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from otel_perfopt.signal.record import AttributeValue


def flattened(said: Mapping[str, Any], prefix: str = "") -> dict[str, AttributeValue]:
    """Undo what the JSON type does to names with dots: `{"a": {"b": 1}}` is the attribute `a.b`.

    A list of structures becomes JSON text, as when it is read from a file; what is null is left out.
    """
    found: dict[str, AttributeValue] = {}
    for name, value in said.items():
        if isinstance(value, dict):
            found.update(flattened(value, f"{prefix}{name}."))
        elif isinstance(value, list):
            simple = all(isinstance(item, (str, bool, int, float)) for item in value)
            found[prefix + name] = tuple(value) if simple else json.dumps(value, ensure_ascii=False)
        elif value is not None:
            found[prefix + name] = value
    return found
