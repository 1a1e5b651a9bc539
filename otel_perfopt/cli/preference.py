"""`perfopt preference`: a user's id in; the digest that policies name, and what is learned of that user, out."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_perfopt.analyse.preference_profile import PreferenceProfile
from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.user_salt import make_user_salt
from otel_perfopt.errors import PerfoptError
from otel_perfopt.loop.observatory import Observatory
from otel_perfopt.signal.user_digest import user_digest


@click.command()
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print a document instead.")
@click.argument("user")
def preference(home: Path, user: str, *, as_json: bool) -> None:
    """Print the digest of USER's id (- reads it from the input, so that no shell remembers it).

    Policies name users by it (match: {user: …}). Below is what the home folder's telemetry shows that the
    user prefers, by command, how that is known, or how many more runs it takes. The id itself is not kept.
    """
    name = sys.stdin.readline().strip() if user == "-" else user
    try:
        digest = user_digest(name, make_user_salt(home))
    except OSError as error:
        raise PerfoptError(f"cannot write the salt of {home}: {error}") from error
    if not digest:
        raise PerfoptError(f"no user is given, or {home} has no salt that can be read")
    profiles = _profiles(home, digest)
    if as_json:
        click.echo(json.dumps({"user": digest, "profiles": [asdict(profile) for profile in profiles]}))
        return
    click.echo(digest)
    if profiles:
        Console().print(_table(profiles))


def _profiles(home: Path, digest: str) -> tuple[PreferenceProfile, ...]:
    observatory, now_ns = Observatory(home), time.time_ns()
    observatory.look(now_ns)
    return observatory.people.profiles(digest, now_ns)


def _table(profiles: tuple[PreferenceProfile, ...]) -> Table:
    table = Table("command", "prefers", "known by", "runs of", "still needed", header_style="bold")
    for profile in profiles:
        needed = f"about {profile.needed_runs} more runs" if profile.needed_runs else ""
        cells = (profile.command, profile.preference or "-", profile.basis, profile.level, needed)
        table.add_row(*(Text(cell) for cell in cells))
    return table
