"""Options that several commands share: where the home folder is, who acts, and why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from otel_perfopt.settings import AgentSettings

_F = TypeVar("_F", bound=Callable[..., Any])


def duration_s(_context: click.Context, _option: click.Parameter, value: str) -> float:
    """Return the seconds in an option's value as policies write durations: `500ms`, `30m`, `7d`."""
    from otel_perfopt.decide.quantity import parse_duration

    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def home_option(command: _F) -> _F:
    """Add `--home`, the folder of telemetry, policies, ledger and snapshot."""
    return click.option(
        "--home",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: AgentSettings.from_environment().home,
        show_default=".perfopt, or $PERFOPT_HOME",
        help="Folder of telemetry, policies, ledger and snapshot.",
    )(command)


def who_options(command: _F) -> _F:
    """Add `--as` and `--reason`, which go on the ledger."""
    who = click.option("--as", "named", metavar="NAME", help="Who acts; otherwise the user of this machine.")
    why = click.option("--reason", default="", help="Why; kept on the ledger.")
    return who(why(command))
