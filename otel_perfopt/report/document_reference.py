"""The description of the JSON document, made from the types it is made from: nothing in, Markdown out.

Run `python -m otel_perfopt.report.document_reference > docs/report-json.md` after a change to those types.
"""

from __future__ import annotations

import inspect
import re
import sys
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from otel_perfopt.analyse.analysis import ANALYSIS_VERSION, Analysis
from otel_perfopt.report.document import FORMAT

_INTRODUCTION = f"""# The report as JSON

`perfopt analyze … --json FILE` writes one object. `format` is `{FORMAT}`, `version` is {ANALYSIS_VERSION}, `generator`
names the release that wrote it. A field keeps its name and meaning as long as the version stays; new fields may come.
Names end in their unit (`_s` seconds, `_ns` Unix nanoseconds, `_usd`); shares are 0 to 1. `null` means that there was
not enough data to say, which is not zero. Times are null for sources without a clock.
"""


def reference() -> str:
    """Return the whole page."""
    parts = [_INTRODUCTION]
    for kind in _types_below(Analysis):
        parts.append(f"## {kind.__name__}\n\n{_prose(kind)}\n\n| field | type |\n|---|---|")
        hints = typing.get_type_hints(kind)
        parts[-1] += "".join(f"\n| `{item.name}` | {_type_name(hints[item.name])} |" for item in fields(kind))
        parts[-1] += "\n"
    return "\n".join(parts)


def _types_below(root: type) -> Iterator[typing.Any]:
    waiting, seen = [root], {root}
    while waiting:
        kind = waiting.pop(0)
        yield kind
        for hint in typing.get_type_hints(kind).values():
            for inner in _dataclasses_in(hint):
                if inner not in seen:
                    seen.add(inner)
                    waiting.append(inner)


def _dataclasses_in(hint: typing.Any) -> Iterator[type]:
    if is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for inner in typing.get_args(hint):
        yield from _dataclasses_in(inner)


def _prose(kind: type) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def _type_name(hint: typing.Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    text = re.sub(r"\b(?:otel_perfopt|collections|typing|types)(?:\.\w+)*\.(\w+)", r"\1", text)
    return f"`{text}`".replace("|", "or").replace("NoneType", "null").replace("None", "null")


if __name__ == "__main__":
    sys.stdout.write(reference())
