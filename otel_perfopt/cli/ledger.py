"""`perfopt ledger show | verify`: the ledger of a home folder in, its entries or the state of its chain out."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.report.ledger import ledger_table


@click.group()
def ledger() -> None:
    """What was decided, by whom and why: append-only and hash-chained."""


@ledger.command()
@home_option
@click.argument("policy", required=False)
def show(home: Path, policy: str | None) -> None:
    """Print the entries, of one policy or of all."""
    entries = [entry for entry in Ledger(home / LEDGER_FILE).refresh() if policy in {None, entry.policy}]
    Console().print(ledger_table(entries))


@ledger.command()
@home_option
def verify(home: Path) -> None:
    """Check every entry's hash and the chain between them."""
    head = Ledger(home / LEDGER_FILE).verify()
    click.echo(f"intact: {head.sequence} entries, head {head.hash}")
