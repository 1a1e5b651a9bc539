"""A pydantic model in, its fields as people write them in YAML out: name, values, default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from docs.generation.markdown import code
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.quantity import Margin, format_duration, format_percent
from otel_perfopt.decide.rollout import METRICS

# Long lists stand once, on a page or in a table of their own.
_LISTS: Mapping[frozenset[str], str] = {
    frozenset(FINDING_KINDS): "a [finding](#findings)",
    frozenset(METRICS): "a [metric](#metrics)",
    frozenset(OPTIMIZATION_TYPES): "an [optimization](optimizations.md)",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name in YAML, what may stand there, and what holds without it (empty: it must be given)."""

    name: str
    values: str
    default: str


def fields_of(model: type[BaseModel], definitions: Mapping[str, Any]) -> Iterator[Field]:
    """Yield a model's fields in order; `definitions` are those of the published schema."""
    shape = definitions[model.__name__]
    required = frozenset(shape.get("required", ()))
    for python_name, info in model.model_fields.items():
        name = info.alias or python_name
        described = shape["properties"].get(name, {})
        default = "" if name in required else _default(info.get_default(call_default_factory=True), described)
        yield Field(name, values_of(described), default)


def values_of(described: Mapping[str, Any]) -> str:
    """Write what a JSON Schema allows, in few words."""
    return next(written for write in _WRITERS if (written := write(described)) is not None)


def _named(described: Mapping[str, Any]) -> str | None:
    if "$ref" not in described:
        return None
    name = described["$ref"].rpartition("/")[2]
    return f"[{name}](#{name.lower()})"


def _listed(described: Mapping[str, Any]) -> str | None:
    if "const" in described:
        return code(described["const"])
    if "enum" not in described:
        return None
    return _LISTS.get(frozenset(described["enum"])) or ", ".join(code(value) for value in described["enum"])


def _either(described: Mapping[str, Any]) -> str | None:
    if "discriminator" in described:
        return "one of the [optimizations](optimizations.md)"
    choices = described.get("anyOf") or described.get("oneOf")
    return " or ".join(dict.fromkeys(text for one in choices if (text := values_of(one)))) if choices else None


def _held(described: Mapping[str, Any]) -> str | None:
    if described.get("type") == "array":
        return f"list of {values_of(described.get('items', {})) or 'values'}"
    if described.get("type") != "object":
        return None
    inner = described.get("additionalProperties")
    return f"mapping to {values_of(inner)}" if isinstance(inner, dict) else "mapping"


def _single(described: Mapping[str, Any]) -> str:
    kind = described.get("type", "")
    return "" if kind == "null" else _plain(kind, described)


_WRITERS: tuple[Callable[[Mapping[str, Any]], str | None], ...] = (_named, _listed, _either, _held, _single)


def _plain(kind: str, described: Mapping[str, Any]) -> str:
    words = {"integer": "whole number", "boolean": "true or false", "string": "text"}.get(kind, kind)
    if kind == "string" and (example := _example(described)):
        return f"text, such as {example}"
    bounds = (
        ("from", described.get("minimum")),
        ("above", described.get("exclusiveMinimum")),
        ("to", described.get("maximum")),
        ("below", described.get("exclusiveMaximum")),
    )
    told = " ".join(f"{word} {bound:,}" for word, bound in bounds if bound is not None)
    return f"{words} {told}".strip()


def _example(described: Mapping[str, Any]) -> str:
    examples = described.get("examples", ())
    return " or ".join(code(example) for example in examples[:2])


def _default(value: object, described: Mapping[str, Any]) -> str:
    if value is None or value in ((), {}, ""):
        return "–"
    if isinstance(value, BaseModel):
        return "its defaults" if value == type(value)() else code(_yaml(value))
    if isinstance(value, float) and not isinstance(value, bool):
        return code(_number(value, json.dumps(described)))
    return code(_yaml(value))


def _number(value: float, described: str) -> str:
    """Write a number as the schema's examples write theirs."""
    if "[smhdw]" in described:
        return format_duration(value) if value else "0s"
    return format_percent(value) if '%"' in described else f"{value:g}"


def _yaml(value: object) -> str:
    if isinstance(value, Margin):
        return str(value)
    if isinstance(value, BaseModel):
        return (
            "{"
            + ", ".join(_pair(value, name) for name in type(value).model_fields if name in value.model_fields_set)
            + "}"
        )
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _pair(model: BaseModel, name: str) -> str:
    info, value = type(model).model_fields[name], getattr(model, name)
    written = _yaml(value)
    if isinstance(value, float):
        written = format_duration(value) if name.endswith("_s") else format_percent(value)
    return f"{info.alias or name}: {written}"


def described_in_yaml(model: type[BaseModel], text: str) -> str:
    """Write the names in a model's description as they stand in YAML."""
    for name, info in model.model_fields.items():
        text = text.replace(f"`{name}`", f"`{info.alias or name}`")
    return text
