"""`perfopt doctor`: a home folder and a program in, what is on, missing or wrong and what to do about it out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from otel_perfopt.cli.checkup import Line, Standing, show
from otel_perfopt.cli.checkup_export import look_at_export
from otel_perfopt.cli.checkup_home import look_at_home
from otel_perfopt.cli.checkup_interpreter import look_at_extras, look_at_interpreter
from otel_perfopt.cli.options import home_option
from otel_perfopt.settings import AgentSettings


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@home_option
@click.argument("program", nargs=-1, type=click.UNPROCESSED)
def doctor(home: Path, program: tuple[str, ...]) -> None:
    """Say what is on, what is missing and what is wrong; the exit status is 1 where there is a warning.

    With PROGRAM (such as: -- python my_agent.py) the interpreter that runs it is looked at; the program
    itself is not run. The interpreter's GenAI instrumentations are switched on in a process of their own
    to see whether they work.
    """
    warnings = 0
    for line in _lines(home, program):
        show(line)
        warnings += line.standing is Standing.WARNING
    click.echo()
    click.echo(f"{warnings} warning(s)" if warnings else "nothing is wrong")
    sys.exit(1 if warnings else 0)


def _lines(home: Path, program: tuple[str, ...]) -> Iterator[Line]:
    environment = dict(os.environ)
    yield from look_at_interpreter(program, environment)
    yield from look_at_extras()
    yield from look_at_export(environment)
    yield from look_at_home(home, time.time_ns(), AgentSettings.from_environment(environment))
