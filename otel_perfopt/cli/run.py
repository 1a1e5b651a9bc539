"""`perfopt run`: a program and its arguments in, the same program with instrumentation on out."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.cli.options import home_option
from otel_perfopt.errors import PerfoptError


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@home_option
@click.option("--tool", "tools", multiple=True, metavar="MODULE:GLOB", help="Functions that are tools (repeatable).")
@click.option("--command", "commands", multiple=True, metavar="MODULE:NAME[=/cmd]", help="Functions that are commands.")
@click.option("--effects", multiple=True, metavar="GLOB=read|write", help="What tools do to the world (repeatable).")
@click.option("--content", is_flag=True, help="Keep prompts, arguments and results in the telemetry; off by default.")
@click.option("--service", default="", help="service.name of the telemetry.")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    *,
    home: Path,
    tools: tuple[str, ...],
    commands: tuple[str, ...],
    effects: tuple[str, ...],
    content: bool,
    service: str,
    program: tuple[str, ...],
) -> None:
    """Run PROGRAM (such as: python my_agent.py) with instrumentation on.

    Telemetry is kept in .perfopt/telemetry as OTLP JSON lines; nothing leaves the machine and the program's code is
    not changed. Tools that the model is offered are found by their names; --tool and --command name others.
    """
    executable = shutil.which(program[0])
    if executable is None:
        raise PerfoptError(f"there is no program {program[0]!r}")
    environment = run_environment(
        os.environ, home, tools, commands, effects, capture_content=content, service_name=service
    )
    sys.stdout.flush()
    sys.stderr.flush()
    # The program takes this process's place: its signals, exit status and terminal are its own.
    os.execve(executable, [program[0], *program[1:]], environment)  # noqa: S606 - it is what the user asked for
