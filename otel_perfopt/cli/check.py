"""`perfopt check`: policy files in, every problem with its line, and what each policy would do, out."""

from __future__ import annotations

from pathlib import Path

import click

from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.boundary import DEFAULT_BOUNDARY, SafetyBoundary, violations
from otel_perfopt.decide.catalog import BOUNDARY_FILE, POLICY_FOLDER
from otel_perfopt.decide.policy_file import (
    LoadedPolicy,
    policy_paths,
    read_boundaries,
    read_policy_file,
    repeated_names,
)
from otel_perfopt.errors import FieldProblem, PerfoptError
from otel_perfopt.report.wording import digest as short_digest


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@home_option
def check(paths: tuple[Path, ...], home: Path) -> None:
    """Check policy files and folders, or without PATHS those of the home folder; exits 1 when one cannot be used."""
    boundaries = _boundaries(home)
    policies: list[LoadedPolicy] = []
    problems: list[FieldProblem] = []
    for path in paths or (home / POLICY_FOLDER,):
        if not path.exists():
            raise PerfoptError(f"there is no {path}; name the policy files to check")
        for file in policy_paths(path):
            found, wrong = read_policy_file(file)
            policies += found
            problems += wrong
    problems += repeated_names(policies)
    for loaded in policies:
        forbidden = violations(loaded.policy, boundaries)
        problems += (FieldProblem(loaded.file, loaded.line, 1, loaded.name, message) for message in forbidden)
        if not forbidden:
            click.echo(f"{loaded.name}: ok, {loaded.policy.spec.optimize.type}, digest {short_digest(loaded.digest)}")
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        raise SystemExit(1)


def _boundaries(home: Path) -> tuple[SafetyBoundary, ...]:
    file = home / BOUNDARY_FILE
    if not file.exists():
        return (DEFAULT_BOUNDARY,)
    return tuple(loaded.boundary for loaded in read_boundaries(file))
