"""`perfopt rules`: policy files in, Prometheus alert and recording rules for each policy out."""

from __future__ import annotations

from pathlib import Path

import click

from otel_perfopt.cli.options import home_option
from otel_perfopt.decide.alert_rules import rules_text
from otel_perfopt.decide.catalog import POLICY_FOLDER
from otel_perfopt.decide.policy_file import read_policies
from otel_perfopt.errors import PerfoptError


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@home_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file instead.")
def rules(paths: tuple[Path, ...], home: Path, out: Path | None) -> None:
    """Print Prometheus rules for the policies in files and folders, or without PATHS for those of the home folder.

    Alerts: a guardrail harmed or near it, a roll-back, a lost lease, an approval that waits, an active policy that
    treats nobody. Load the output as a rule file; `promtool check rules` accepts it.
    """
    policies = []
    for path in paths or (home / POLICY_FOLDER,):
        if not path.exists():
            raise PerfoptError(f"there is no {path}; name the policy files to write rules for")
        policies += [loaded.policy for loaded in read_policies(path).policies]
    if not policies:
        raise PerfoptError("no policies there; perfopt propose writes some from recorded telemetry")
    text = rules_text(policies)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
