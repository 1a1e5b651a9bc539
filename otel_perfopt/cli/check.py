"""`perfopt check`: policy, boundary and group files in; every problem with its line, for people, programs or GitHub, out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.boundary import DEFAULT_BOUNDARY, SafetyBoundary
from otel_perfopt.decide.catalog import BOUNDARY_FILE, GROUPS_FILE, POLICY_FOLDER
from otel_perfopt.decide.file_check import FileCheck, check_files
from otel_perfopt.decide.policy_file import read_boundaries
from otel_perfopt.errors import FieldProblem, InvalidFileError, PerfoptError
from otel_perfopt.report.wording import digest as short_digest


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "written",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="How problems are written: for people, for programs, or as annotations of a GitHub workflow.",
)
@home_option
def check(paths: tuple[Path, ...], written: str, home: Path) -> None:
    """Check policy, boundary and group files and folders, or without PATHS those of the home folder.

    Exits 0 when every file can be used, 1 when one cannot or there is nothing to check, 2 when the command is misused.
    """
    _refuse_missing(paths)
    boundaries, problems = _boundaries(home)
    found = check_files(paths or _of_home(home), boundaries)
    problems = (*problems, *(problem for problem in found.problems if problem not in problems))
    _WRITERS[written](found, problems)
    if problems:
        raise SystemExit(1)


def boundaries_of(home: Path) -> tuple[SafetyBoundary, ...]:
    """Return the boundaries of a home folder, the default where it declares none.

    Raises:
        InvalidFileError: its file cannot be used.
    """
    file = home / BOUNDARY_FILE
    if not file.exists():
        return (DEFAULT_BOUNDARY,)
    return tuple(loaded.boundary for loaded in read_boundaries(file))


def _boundaries(home: Path) -> tuple[tuple[SafetyBoundary, ...], tuple[FieldProblem, ...]]:
    try:
        return boundaries_of(home), ()
    except InvalidFileError as error:
        return (DEFAULT_BOUNDARY,), error.problems


def _of_home(home: Path) -> Sequence[Path]:
    folder = home / POLICY_FOLDER
    if not folder.is_dir():
        raise PerfoptError(f"there is no {folder}; name the policy files to check")
    return [folder, *(file for file in (home / GROUPS_FILE,) if file.exists())]


def _refuse_missing(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise PerfoptError(f"there is no {path}; name the policy files to check")


def _as_text(found: FileCheck, problems: Sequence[FieldProblem]) -> None:
    for loaded in found.policies:
        click.echo(f"{loaded.name}: ok, {loaded.policy.spec.optimize.type}, digest {short_digest(loaded.digest)}")
    for problem in problems:
        click.echo(str(problem), err=True)


def _as_json(found: FileCheck, problems: Sequence[FieldProblem]) -> None:
    policies = [
        {"name": one.name, "file": one.file, "type": one.policy.spec.optimize.type, "digest": one.digest}
        for one in found.policies
    ]
    told = [_problem(problem) for problem in problems]
    document = {"format": "perfopt.check", "version": 1, "files": found.files, "policies": policies, "problems": told}
    click.echo(json.dumps(document))


def _problem(problem: FieldProblem) -> Mapping[str, object]:
    return {
        "file": problem.path,
        "line": problem.line,
        "column": problem.column,
        "field": problem.field,
        "message": problem.message,
    }


def _as_github(_found: FileCheck, problems: Sequence[FieldProblem]) -> None:
    for problem in problems:
        place = f"file={_property(problem.path)},line={problem.line},col={problem.column}"
        field = f"{problem.field}: " if problem.field else ""
        click.echo(f"::error {place},title=perfopt check::{_data(field + problem.message)}")


def _data(text: str) -> str:
    """Escape what ends or opens a workflow command (GitHub's toolkit, `escapeData`)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


_WRITERS = {"text": _as_text, "json": _as_json, "github": _as_github}
