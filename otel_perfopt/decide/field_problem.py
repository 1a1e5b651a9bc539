"""What is wrong with a declared document: a model's validation error in, problems with place and remedy out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from otel_perfopt.decide.document import Document, Path_
from otel_perfopt.decide.model_base import nearest
from otel_perfopt.errors import FieldProblem

_M = TypeVar("_M", bound=BaseModel)

_EXPECTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text; put it in quotes",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}


def check_document(document: Document, model: type[_M]) -> tuple[_M | None, list[FieldProblem]]:
    """Check a document against a model; return the model, or every problem with its line and column."""
    try:
        return model.model_validate(document.data), []
    except ValidationError as error:
        schema = model.model_json_schema(mode="validation")
        return None, [_problem(document, detail, schema) for detail in error.errors(include_url=False)]


def _problem(document: Document, detail: ErrorDetails, schema: Mapping[str, Any]) -> FieldProblem:
    path = _path_in_file(document.data, detail["loc"])
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = known_keys(schema, detail["loc"][:-1])
        return document.problem(path, f"is an unknown key{nearest(str(path[-1]), known)}", at_key=True)
    return document.problem(path, _message(detail))


def _message(detail: ErrorDetails) -> str:
    kind, given = detail["type"], _shown(detail["input"])
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]} (it is {given})"
    if kind in _REMEDIES:
        return _REMEDIES[kind](detail, given)
    text = detail["msg"]
    return f"{text[:1].lower()}{text[1:]} (it is {given})"


def _word_problem(detail: ErrorDetails, given: str) -> str:
    return f"{given} is not allowed here{nearest(str(detail['input']), _words(detail['ctx']['expected']))}"


def _type_problem(detail: ErrorDetails, _given: str) -> str:
    tag = str(detail["ctx"]["tag"])
    return f"{tag!r} is no type this version knows{nearest(tag, _words(detail['ctx']['expected_tags']))}"


def _words(listed: object) -> list[str]:
    return [word.strip(" '") for word in str(listed).replace(" or ", ", ").split(",")]


_REMEDIES: Mapping[str, Callable[[ErrorDetails, str], str]] = {
    "missing": lambda _detail, _given: "is required and missing; add it",
    "value_error": lambda detail, _given: str(detail["ctx"]["error"]),
    "literal_error": _word_problem,
    "union_tag_invalid": _type_problem,
    "union_tag_not_found": lambda _detail, _given: "needs a type: the word for one of the optimizations",
    "string_pattern_mismatch": lambda _detail, given: (
        f"{given} does not fit; names are lower-case letters, digits and dashes, words have underscores instead"
    ),
    "too_short": lambda _detail, _given: "is empty; name at least one",
}


def _shown(value: object) -> str:
    if value is None:
        return "empty"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _path_in_file(data: object, location: tuple[int | str, ...]) -> Path_:
    """Drop the parts of a location that a union added and the file does not have."""
    path: list[str | int] = []
    for index, part in enumerate(location):
        inside = _child(data, part)
        if inside is _ABSENT and index < len(location) - 1:
            continue
        path.append(part)
        data = inside
    return tuple(path)


_ABSENT = object()


def _child(data: object, part: int | str) -> object:
    if isinstance(data, dict) and part in data:
        return data[part]
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return data[0] if isinstance(data, str) and part == 0 else _ABSENT


def known_keys(schema: Mapping[str, Any], location: tuple[int | str, ...]) -> set[str]:
    """Return the keys a schema allows at a location of a validation error."""
    here = [schema]
    for part in location:
        here = [inner for outer in here for inner in _inside(_choices(schema, outer), part)]
    return {key for outer in here for choice in _choices(schema, outer) for key in choice.get("properties", {})}


def _choices(schema: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Follow references and alternatives to the plain schemas behind them; keep a union for its tags."""
    if "$ref" in node:
        name = str(node["$ref"]).rsplit("/", 1)[-1]
        return _choices(schema, schema["$defs"][name])
    inner = [choice for word in ("anyOf", "oneOf", "allOf") for choice in node.get(word, ())]
    return [node, *(found for choice in inner for found in _choices(schema, choice))]


def _inside(nodes: list[Mapping[str, Any]], part: int | str) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for node in nodes:
        mapping = node.get("discriminator", {}).get("mapping", {})
        if part in mapping:
            found.append({"$ref": mapping[part]})
        elif part in node.get("properties", {}):
            found.append(node["properties"][part])
        elif isinstance(part, int) and isinstance(node.get("items"), Mapping):
            found.append(node["items"])
    return found
