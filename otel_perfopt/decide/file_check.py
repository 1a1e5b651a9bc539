"""Whether declared files can be used: paths of policies, boundaries and groups in, what is good and every problem out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt.decide.boundary import SafetyBoundary, violations
from otel_perfopt.decide.catalog import GROUPS_FILE
from otel_perfopt.decide.document import read_documents
from otel_perfopt.decide.policy_file import (
    BOUNDARY,
    LoadedPolicy,
    policy_paths,
    read_boundaries,
    read_groups,
    read_policy_file,
    repeated_names,
)
from otel_perfopt.errors import FieldProblem, InvalidFileError


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What a check found: files looked at, policies that can be used, and every problem in order of place."""

    files: tuple[str, ...]
    policies: tuple[LoadedPolicy, ...]
    problems: tuple[FieldProblem, ...]


def check_files(paths: Iterable[Path], boundaries: Sequence[SafetyBoundary]) -> FileCheck:
    """Check files and folders; a policy that a boundary forbids is a problem too."""
    files = [file for path in paths for file in policy_paths(path)]
    policies: list[LoadedPolicy] = []
    problems: list[FieldProblem] = []
    for file in files:
        found, wrong = _check(file)
        policies += found
        problems += wrong
    problems += repeated_names(policies)
    usable = []
    for loaded in policies:
        forbidden = violations(loaded.policy, boundaries)
        problems += [FieldProblem(loaded.file, loaded.line, 1, loaded.name, message) for message in forbidden]
        usable += [] if forbidden else [loaded]
    problems += _strangers(usable)
    problems.sort(key=lambda problem: (problem.path, problem.line, problem.column))
    return FileCheck(tuple(str(file) for file in files), tuple(usable), tuple(problems))


def _strangers(policies: Iterable[LoadedPolicy]) -> list[FieldProblem]:
    """Return a problem for each policy that is no alternative to the others of its group."""
    first: dict[str, LoadedPolicy] = {}
    problems = []
    for loaded in sorted(policies, key=lambda one: one.name):
        spec = loaded.policy.spec
        if spec.strategy is None:
            continue
        other = first.setdefault(spec.strategy.group, loaded)
        its = other.policy.spec
        if (spec.goal.metric, spec.rollout.unit) != (its.goal.metric, its.rollout.unit):
            message = (
                f"{loaded.name!r} and {other.name!r} are no alternatives: they compare {spec.goal.metric} by "
                f"{spec.rollout.unit} and {its.goal.metric} by {its.rollout.unit}"
            )
            problems.append(FieldProblem(loaded.file, loaded.line, 1, "spec.strategy", message))
    return problems


def _check(file: Path) -> tuple[list[LoadedPolicy], Sequence[FieldProblem]]:
    try:
        if file.name == GROUPS_FILE:
            read_groups(file)
            return [], ()
        if _kind(file) == BOUNDARY:
            read_boundaries(file)
            return [], ()
    except InvalidFileError as error:
        return [], error.problems
    return read_policy_file(file)


def _kind(file: Path) -> object:
    documents, _ = read_documents(file)
    first = documents[0].data if documents else None
    return first.get("kind") if isinstance(first, dict) else None
