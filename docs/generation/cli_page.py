"""The command reference: the command line's own table and options in, one page out."""

from __future__ import annotations

from collections.abc import Iterator

import click

from docs.generation.markdown import code, page, table
from otel_perfopt.cli.group import COMMANDS, cli

_FIRST = """Every command, as `perfopt COMMAND --help` tells it. A command exits with 0 when it is done, 1 when it failed or
found a warning, and 2 when it was misused or an extra is missing.
"""


def cli_page() -> str:
    """Return the page."""
    overview = table(
        ("command", "does"), ((f"[{name}](#perfopt-{name})", line) for name, (_, line) in COMMANDS.items())
    )
    return page("Commands", _FIRST, overview, *(part for name in COMMANDS for part in _command((name,))))


def find_command(words: tuple[str, ...]) -> click.Command:
    """Return the command that these words name.

    Raises:
        KeyError: there is none.
    """
    found: click.Command = cli
    for word in words:
        inner = found.get_command(click.Context(found), word) if isinstance(found, click.Group) else None
        if inner is None:
            raise KeyError(" ".join(words))
        found = inner
    return found


def _command(words: tuple[str, ...]) -> Iterator[str]:
    command = find_command(words)
    name = "perfopt " + " ".join(words)
    with click.Context(command, info_name=name) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        rows = [row for parameter in command.params for row in _rows(parameter, context)]
    yield f"{'#' * (len(words) + 1)} {name}\n\n```text\n{name} {usage}\n```"
    yield _dedented(command.help or "")
    if rows:
        yield table(("option", "default", "meaning"), rows)
    if isinstance(command, click.Group):
        for inner in command.list_commands(click.Context(command)):
            yield from _command((*words, inner))


def _dedented(text: str) -> str:
    return "\n".join(line.strip() for line in text.replace("\b", "").splitlines())


def _rows(parameter: click.Parameter, context: click.Context) -> Iterator[tuple[str, str, str]]:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return
    record = parameter.get_help_record(context)
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    value = "" if parameter.is_flag else " " + parameter.make_metavar(context)
    yield code(names + value), _default(parameter), (parameter.help or "") if record else ""


def _default(option: click.Option) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    value = option.default
    plain = isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""
    return code(value) if plain else ""
