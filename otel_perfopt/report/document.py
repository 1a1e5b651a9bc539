"""The report as a versioned JSON document: an `Analysis` in, plain JSON values out (docs/report-json.md)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from otel_perfopt import __version__
from otel_perfopt.analyse.analysis import Analysis

FORMAT = "perfopt.report"


def report_document(analysis: Analysis) -> dict[str, Any]:
    """Return the document: every field of `Analysis` by its name, None as null, and no NaN."""
    return {"format": FORMAT, "generator": f"otel-perfopt {__version__}", **_plain(analysis)}


def report_json(analysis: Analysis) -> str:
    """Return the document as indented JSON text."""
    return json.dumps(report_document(analysis), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        plain = [_plain(item) for item in value]
        return sorted(plain) if isinstance(value, (set, frozenset)) else plain
    return None if isinstance(value, float) and not math.isfinite(value) else value
