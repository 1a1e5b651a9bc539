"""Options that several commands share: where the home folder is, who acts and why, what of a store is read."""

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


def store_question_options(command: _F) -> _F:
    """Add `--from`, `--to`, `--sample`, `--interval` and `--workers`: what of a store is read, and how."""
    options = (
        click.option("--from", "since", type=click.DateTime(), help="With --store: runs from this moment (UTC)."),
        click.option("--to", "until", type=click.DateTime(), help="With --store: runs until before this moment (UTC)."),
        click.option(
            "--sample",
            type=click.IntRange(min=1),
            metavar="TRACES",
            help="With --store: about so many traces, by command.",
        ),
        click.option(
            "--interval",
            type=click.FloatRange(min=0.1, max=50),
            default=3.0,
            show_default=True,
            metavar="PERCENT",
            help="With --store: read as many traces as give the mean run time within this (95 %).",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="With --store: processes that share the work; all cores by default.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
