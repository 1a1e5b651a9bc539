"""The settings reference: the only reader of the environment in, one page out."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields

from docs.generation.markdown import code, page, table
from docs.generation.settings_words import ELSEWHERE, MEANINGS
from otel_perfopt import settings
from otel_perfopt.settings import AgentSettings

_FIRST = """The agent side is set by environment variables; `perfopt run` sets them from its options, and
`otel_perfopt.instrument()` takes the fields as keyword arguments. Everything else is an option of a
[command](commands.md). A value that cannot be read keeps the default: a wrong setting never stops an agent. A switch is
on with `1`, `true`, `yes` or `on`, and off with `0`, `false`, `no` or `off`.
"""


def settings_page() -> str:
    """Return the page."""
    return page(
        "Settings",
        _FIRST,
        "## The agent side",
        table(("variable", "field", "default", "meaning"), _rows()),
        "## Read elsewhere\n\nOpenTelemetry's own variables hold as ever; these decide what this package does.",
        table(("variable", "meaning"), ((code(name), meaning) for name, meaning in ELSEWHERE.items())),
    )


def variables() -> dict[str, str]:
    """Return by field of `AgentSettings` the variable that it is read from."""
    tree = ast.parse(inspect.cleandoc(inspect.getsource(settings)))
    reader = next(
        node
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef) and owner.name == AgentSettings.__name__
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and node.name == "from_environment"
    )
    found = {}
    for keyword in (item for node in ast.walk(reader) if isinstance(node, ast.Call) for item in node.keywords):
        names = [item.value for item in ast.walk(keyword.value) if isinstance(item, ast.Constant)]
        named = next((name for name in names if isinstance(name, str) and name.isupper()), None)
        if keyword.arg and named:
            found[keyword.arg] = named
    return found


def _rows() -> Iterator[tuple[str, str, str, str]]:
    known = variables()
    for field in fields(AgentSettings):
        variable = known.get(field.name, "")
        yield code(variable), code(field.name), _default(field.default), MEANINGS.get(variable, "")


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value in ("", ()):
        return "–"
    if isinstance(value, int) and value >= 1 << 20:
        return f"{value >> 20} MiB"
    return code(value)
