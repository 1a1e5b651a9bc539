"""`perfopt learned`: a home folder's ledger in; what ended roll-outs taught out."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.learned_file import LearnedFile
from otel_perfopt.decide.ledger import Ledger
from otel_perfopt.decide.policy_set import LEDGER_FILE
from otel_perfopt.report.learned import learned_data, learned_text


@click.command()
@home_option
@click.option("--json", "as_json", is_flag=True, help="Print a document instead.")
def learned(home: Path, as_json: bool) -> None:
    """Show what ended roll-outs taught: effects by context, how good predictions were, what users felt, what failed.

    Reads the ledger and changes nothing.
    """
    found = LearnedFile(home).learned(Ledger(home / LEDGER_FILE).refresh(), write=False)
    if as_json:
        click.echo(json.dumps(learned_data(found)))
    else:
        Console().print(learned_text(found))
