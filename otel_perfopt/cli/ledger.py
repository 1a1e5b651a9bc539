"""`perfopt ledger show | head | verify`: the ledger of a home folder in, its entries or the state of its chain out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.ledger_heads import check_heads, read_heads
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.report.ledger import ledger_table


@click.group()
def ledger() -> None:
    """What was decided, by whom and why: append-only and hash-chained."""


@ledger.command()
@home_option
@click.argument("policy", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document a line instead.")
def show(home: Path, policy: str | None, as_json: bool) -> None:
    """Print the entries, of one policy or of all."""
    entries = [entry for entry in Ledger(home / LEDGER_FILE).refresh() if policy in {None, entry.policy}]
    if as_json:
        for entry in entries:
            click.echo(json.dumps(asdict(entry)))
        return
    Console().print(ledger_table(entries))


@ledger.command()
@home_option
def head(home: Path) -> None:
    """Print the chain's present end as a line for `verify --heads`; keep it where the ledger's owner cannot."""
    found = Ledger(home / LEDGER_FILE).verify()
    click.echo(f"{found.sequence} {found.hash}")


@ledger.command()
@home_option
@click.option(
    "--heads",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Heads kept elsewhere: lines of SEQUENCE HASH, or the Collector's OTLP JSON logs.",
)
def verify(home: Path, heads: Path | None) -> None:
    """Check every entry's hash and the chain between them; with --heads also that nothing was cut off its end.

    A chain alone cannot show that its last entries are missing. The controller tells each head as an OpenTelemetry
    log, and `perfopt ledger head` prints one: kept where the ledger's owner cannot change them, they show it.
    """
    book = Ledger(home / LEDGER_FILE)
    found = book.verify()
    known = read_heads(heads) if heads is not None else ()
    check_heads(book.refresh(), known)
    through = f", through {len(known)} heads kept elsewhere" if heads is not None else ""
    torn = f", {found.torn_bytes} bytes of a torn line after it" if found.torn_bytes else ""
    click.echo(f"intact: {found.sequence} entries{through}, head {found.hash}{torn}")
