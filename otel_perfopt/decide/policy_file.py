"""Files that people write in; policies, boundaries and groups with their places out, or every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, RootModel, TypeAdapter

from otel_perfopt.decide.boundary import SafetyBoundary
from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.decide.document import Document, read_documents
from otel_perfopt.decide.field_problem import check_document
from otel_perfopt.decide.model_base import Globs, nearest
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.errors import FieldProblem, InvalidFileError

POLICY = "OptimizationPolicy"
BOUNDARY = "SafetyBoundary"
SUFFIXES = (".yaml", ".yml")
_M = TypeVar("_M", bound=BaseModel)

# Which model reads which kind of document.
KINDS: Mapping[str, type[OptimizationPolicy | SafetyBoundary]] = {
    POLICY: OptimizationPolicy,
    BOUNDARY: SafetyBoundary,
}


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and where it came from; `raw` is the document as data, from which it can be read again."""

    policy: OptimizationPolicy
    digest: str
    file: str
    line: int
    raw: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.policy.name


@dataclass(frozen=True, slots=True)
class LoadedBoundary:
    """A boundary, and the document it came from as data."""

    boundary: SafetyBoundary
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """All policies found under one path, in order of file and place."""

    policies: tuple[LoadedPolicy, ...]
    files: tuple[str, ...]


class Groups(RootModel[dict[str, Globs]]):
    """Who belongs to which group: a mapping of group names to identities."""

    def members(self, group: str) -> tuple[str, ...]:
        """Return the identities in a group; nobody when there is no such group."""
        return self.root.get(group, ())


def policy_paths(path: Path) -> list[Path]:
    """Return the files that may hold policies: the file itself, or every YAML file under a folder."""
    if not path.is_dir():
        return [path]
    found = (item for suffix in SUFFIXES for item in path.rglob(f"*{suffix}"))
    # ConfigMaps mount their files twice, once under a hidden folder.
    visible = (item for item in found if not any(part.startswith(".") for part in item.relative_to(path).parts))
    return sorted(item for item in visible if item.is_file())


def read_policies(path: Path) -> PolicyFiles:
    """Read a policy file, or every YAML file under a folder.

    Raises:
        InvalidFileError: with every problem of every file.
    """
    policies: list[LoadedPolicy] = []
    problems: list[FieldProblem] = []
    paths = policy_paths(path)
    for file in paths:
        found, wrong = read_policy_file(file)
        policies.extend(found)
        problems.extend(sorted(wrong, key=lambda problem: (problem.line, problem.column)))
    problems.extend(repeated_names(policies))
    if problems:
        raise InvalidFileError(tuple(problems))
    return PolicyFiles(tuple(policies), tuple(str(file) for file in paths))


def read_policy_file(file: Path, shown_as: str | None = None) -> tuple[list[LoadedPolicy], list[FieldProblem]]:
    """Read the policies of one file; policies that can be used and problems may both come back."""
    documents, problems = read_documents(file, shown_as)
    policies: list[LoadedPolicy] = []
    for document in documents:
        policy, wrong = _checked(document, OptimizationPolicy, POLICY)
        problems.extend(wrong)
        if policy is not None and isinstance(document.data, dict):
            line = document.values[()].line
            policies.append(LoadedPolicy(policy, policy_digest(policy), document.file, line, document.data))
    return policies, problems


def repeated_names(policies: Iterable[LoadedPolicy]) -> list[FieldProblem]:
    """Return a problem for each policy whose name another one had before."""
    first: dict[str, LoadedPolicy] = {}
    problems = []
    for loaded in policies:
        other = first.setdefault(loaded.name, loaded)
        if other is not loaded:
            message = f"{loaded.name!r} is already the name of the policy in {other.file}:{other.line}; rename one"
            problems.append(FieldProblem(loaded.file, loaded.line, 1, "metadata.name", message))
    return problems


def read_boundaries(file: Path) -> tuple[LoadedBoundary, ...]:
    """Read every boundary of a file; all of them hold together.

    Raises:
        InvalidFileError: with every problem, also when the file holds no boundary.
    """
    documents, problems = read_documents(file)
    boundaries = []
    for document in documents:
        boundary, wrong = _checked(document, SafetyBoundary, BOUNDARY)
        problems.extend(wrong)
        if boundary is not None and isinstance(document.data, dict):
            boundaries.append(LoadedBoundary(boundary, document.data))
    if not boundaries and not problems:
        problems.append(FieldProblem(str(file), 1, 1, "", f"is empty; write a {BOUNDARY} or remove the file"))
    if problems:
        raise InvalidFileError(tuple(problems))
    return tuple(boundaries)


def read_groups(file: Path) -> Groups:
    """Read `groups.yaml`: a mapping of group names to identities.

    Raises:
        InvalidFileError: with every problem.
    """
    documents, problems = read_documents(file)
    if len(documents) > 1:
        problems.append(documents[1].problem((), "is a second document; keep one"))
    groups = Groups({})
    if documents and not problems:
        checked, wrong = check_document(documents[0], Groups)
        problems.extend(wrong)
        groups = checked or groups
    if problems:
        raise InvalidFileError(tuple(problems))
    return groups


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of policies and boundaries, for editors."""
    either = Annotated[OptimizationPolicy | SafetyBoundary, Field(discriminator="kind")]
    schema = TypeAdapter[Any](either).json_schema(mode="validation")
    schema = _for_editors(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "otel-perfopt policies and safety boundaries",
        **schema,
    }


def _checked(document: Document, model: type[_M], kind: str) -> tuple[_M | None, list[FieldProblem]]:
    data = document.data
    if data is None:
        return None, []
    if not isinstance(data, dict):
        return None, [document.problem((), f"must be a mapping that starts with apiVersion and kind: {kind}")]
    if data.get("kind") != kind and "kind" in data:
        given = data["kind"]
        other = f"; a {given} belongs in a file of its own" if given in KINDS else nearest(str(given), [kind])
        return None, [document.problem(("kind",), f"{given!r} is not expected here{other}")]
    return check_document(document, model)


def _for_editors(node: Any) -> Any:
    """Drop the titles pydantic makes up and defaults that are held in another form than they are written."""
    if isinstance(node, Mapping):
        return {key: _for_editors(value) for key, value in node.items() if not _is_noise(key, value, node)}
    return [_for_editors(item) for item in node] if isinstance(node, Sequence) and not isinstance(node, str) else node


def _is_noise(key: str, value: object, node: Mapping[str, Any]) -> bool:
    if key == "title":
        return isinstance(value, str)
    return key == "default" and (not isinstance(value, (str, bool, int)) or "pattern" in node)
