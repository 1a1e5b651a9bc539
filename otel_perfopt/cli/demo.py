"""`perfopt demo`: the whole loop on the example agent, shown as it runs and measured in that run."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from rich.console import Console
from rich.prompt import Confirm

from otel_perfopt.demo.screen import Screen
from otel_perfopt.demo.tour import Tour
from otel_perfopt.errors import PerfoptError

_MARK = ".perfopt-demo"


@click.command()
@click.option("--yes", is_flag=True, help="Approve without asking.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".perfopt/demo"),
    show_default=True,
    help="Where everything is written; made anew.",
)
def demo(yes: bool, folder: Path) -> None:
    """Show the whole loop: baseline, analysis, proposals, approval, canary, verdict, promotion, and a rollback.

    An example support agent with real tools talks to a local model server; no key and no network are needed. It takes
    under three minutes. Every number is measured while you watch.
    """
    console = Console()
    _make_anew(folder)

    def confirm(question: str) -> bool:
        return yes or Confirm.ask(question, console=console, default=True)

    Tour(folder.resolve(), Screen(console), confirm).run()


def _make_anew(folder: Path) -> None:
    """Empty the folder of an earlier demo, and nobody else's."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise PerfoptError(f"{folder} holds something that is no demo's; name another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
