"""A YAML file in, plain data with the line and column of every key and value out, bounded in every direction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from otel_perfopt.errors import FieldProblem

Path_: TypeAlias = tuple[str | int, ...]

_MOST_BYTES = 1_000_000
_MOST_NODES = 20_000
_DEEPEST = 40
_TAG = "tag:yaml.org,2002:"

# YAML 1.2 words: unlike YAML 1.1, `no` is a word, `5:30` is text and `010` is ten.
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d{1,3})?", re.ASCII)
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True, slots=True)
class Position:
    """Where something stands; both count from 1."""

    line: int = 1
    column: int = 1


@dataclass(slots=True)
class Document:
    """One document of a file: its data, and where each key and each value stands, by path."""

    file: str
    data: object = None
    keys: dict[Path_, Position] = field(default_factory=dict)
    values: dict[Path_, Position] = field(default_factory=dict)

    def problem(self, path: Path_, message: str, *, at_key: bool = False) -> FieldProblem:
        """Return a problem at `path`, or at the nearest thing around it that stands in the file."""
        places = (self.keys, self.values) if at_key else (self.values, self.keys)
        for length in range(len(path), -1, -1):
            for place in places:
                if path[:length] in place:
                    where = place[path[:length]]
                    return FieldProblem(self.file, where.line, where.column, field_name(path), message)
        return FieldProblem(self.file, 1, 1, field_name(path), message)


def field_name(path: Path_) -> str:
    """Return a path as people write it: `spec.rollout.steps[1].treatment`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read_documents(file: Path, shown_as: str | None = None) -> tuple[list[Document], list[FieldProblem]]:
    """Read every document of a file; what cannot be read comes back as problems, never as an exception."""
    name = shown_as or str(file)
    try:
        with file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        return [], [FieldProblem(name, 1, 1, "", f"cannot be read: {error.strerror or error}")]
    return parse_documents(content, name)


def parse_documents(content: bytes, name: str) -> tuple[list[Document], list[FieldProblem]]:
    """Read every document of a file's bytes; empty documents are left out."""
    if len(content) > _MOST_BYTES:
        return [], [FieldProblem(name, 1, 1, "", f"is larger than {_MOST_BYTES:,} bytes; split it")]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        return [], [FieldProblem(name, line, column, "", "is not UTF-8 here; save the file as UTF-8")]
    return _compose(text, name)


def _compose(text: str, name: str) -> tuple[list[Document], list[FieldProblem]]:
    documents: list[Document] = []
    problems: list[FieldProblem] = []
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is not None:
                reader = _Reader(Document(name))
                documents.append(reader.read(node))
                problems.extend(reader.problems)
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(text, name, error))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        column = error.position - (before.rfind("\n") + 1) + 1
        problems.append(FieldProblem(name, before.count("\n") + 1, column, "", "holds a character YAML does not allow"))
    except RecursionError:
        problems.append(FieldProblem(name, 1, 1, "", f"is nested deeper than {_DEEPEST} levels"))
    return documents, problems


def _syntax_problem(text: str, name: str, error: yaml.MarkedYAMLError) -> FieldProblem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    indent = lines[line - 1][:column] if line <= len(lines) else ""
    if "\t" in indent:
        return FieldProblem(name, line, column, "", "is indented with a tab; YAML wants spaces")
    what = ", ".join(part for part in (error.context, error.problem) if part)
    return FieldProblem(name, line, column, "", f"is not valid YAML: {what}")


class _Reader:
    """Turns nodes into data, remembers where they stand, and stops where aliases would blow up."""

    def __init__(self, document: Document) -> None:
        self.problems: list[FieldProblem] = []
        self._document = document
        self._nodes = 0

    def read(self, node: yaml.Node) -> Document:
        try:
            self._document.data = self._value(node, ())
        except _TooMuchError as error:
            self._document.data = None
            self._problem(node, (), str(error))
        return self._document

    def _value(self, node: yaml.Node, path: Path_) -> object:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _TooMuchError(f"holds more than {_MOST_NODES:,} values once aliases are filled in")
        if len(path) > _DEEPEST:
            raise _TooMuchError(f"is nested deeper than {_DEEPEST} levels, or an alias holds itself")
        self._document.values[path] = _position(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._check_tag(node, path, "seq")
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> Mapping[str, object]:
        self._check_tag(node, path, "map")
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or not isinstance(key, str):
                self._problem(key_node, path, "has a key that is no plain word")
            elif key_node.tag == f"{_TAG}merge":
                self._problem(key_node, path, "merges another mapping with <<; write its keys out")
            elif key in data:
                first = self._document.keys[(*path, key)]
                self._problem(key_node, (*path, key), f"stands here twice, first on line {first.line}; remove one")
            else:
                self._document.keys[(*path, key)] = _position(key_node)
                data[key] = self._value(value_node, (*path, key))
        return data

    def _scalar(self, node: yaml.Node, path: Path_) -> object:
        text = str(node.value)
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if not is_plain or node.tag == f"{_TAG}str":
            return text
        self._check_tag(node, path, "null", "bool", "int", "float", "timestamp", "merge", "value")
        if text in _NULLS:
            return None
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _check_tag(self, node: yaml.Node, path: Path_, *known: str) -> None:
        if node.tag not in {f"{_TAG}{tag}" for tag in known}:
            self._problem(node, path, f"has the tag {node.tag!r}; tags are not used here, remove it")

    def _problem(self, node: yaml.Node, path: Path_, message: str) -> None:
        where = _position(node)
        self.problems.append(FieldProblem(self._document.file, where.line, where.column, field_name(path), message))


class _TooMuchError(Exception):
    """A document that is too large or too deep to be a declaration."""


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
