"""`perfopt approve | reject | rollback | retire | retry | extend | kill | unkill`: who says what of which policy, to the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import click

from otel_perfopt.cli.options import duration_s, home_option, who_options
from otel_perfopt.decide.approval import identity
from otel_perfopt.decide.kill_switch import switch_off
from otel_perfopt.decide.lifecycle import Transition
from otel_perfopt.decide.observation import Extension
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.publish import publish
from otel_perfopt.report.wording import digest as short_digest


@click.command()
@click.argument("name")
@click.option("--gate", type=click.Choice(["shadow", "canary", "active"]), help="Otherwise the one that waits.")
@home_option
@who_options
def approve(name: str, gate: str | None, home: Path, named: str | None, reason: str) -> None:
    """Say yes to the gate that a policy waits at, for the file as it is now; an edit voids it."""
    now_ns = time.time_ns()
    policies = PolicySet.open(home, now_ns)
    given = policies.approve(name, identity(named), reason, now_ns, gate)
    click.echo(f"{name}: {given.gate} approved by {given.approver}, digest {short_digest(given.digest)}")
    _tell(policies.advance({}, now_ns))
    publish(policies, now_ns)


def _request(event: str, description: str) -> click.Command:
    """Return the command with which a person asks for one step of a policy's life."""

    @click.command(event, help=description)
    @click.argument("name")
    @home_option
    @who_options
    def command(name: str, home: Path, named: str | None, reason: str) -> None:
        now_ns = time.time_ns()
        policies = PolicySet.open(home, now_ns)
        ask = getattr(policies, event)
        _tell((ask(name, identity(named), reason, now_ns),))
        publish(policies, now_ns)

    return command


reject = _request("reject", "Say no to a policy that is not active yet.")
rollback = _request("rollback", "Take a policy back to baseline now; needs nobody's approval.")
retire = _request("retire", "End a policy for good; its file may stay.")
retry = _request("retry", "Propose again what was taken back, rejected, retired or inconclusive; needs --reason.")


@click.command()
@click.argument("name")
@click.option("--units", default=0, type=click.IntRange(min=0), help="Units of both arms beyond the policy's maxUnits.")
@click.option("--duration", callback=duration_s, default="0s", help="Exposure beyond maxDuration, such as 7d.")
@home_option
@who_options
def extend(*, name: str, units: int, duration: float, home: Path, named: str | None, reason: str) -> None:
    """Let an inconclusive comparison go on with the units it has; needs --reason, and its approval again."""
    now_ns = time.time_ns()
    policies = PolicySet.open(home, now_ns)
    _tell((policies.extend(name, identity(named), reason, now_ns, Extension(units, duration)),))
    _tell(policies.advance({}, now_ns))
    publish(policies, now_ns)


@click.command()
@click.argument("name", required=False)
@home_option
@who_options
def kill(name: str | None, home: Path, named: str | None, reason: str) -> None:
    """Switch treatment off in every agent at once, for one policy or, without NAME, for all."""
    now_ns = time.time_ns()
    # Before anything that can fail: a ledger that cannot be read or written must not keep treatment on.
    if name is None or _is_declared(home, name):
        switch_off(home, name)
    policies = PolicySet.open(home, now_ns)
    _tell(policies.kill(name, identity(named), reason, now_ns))
    publish(policies, now_ns)
    click.echo(f"{name or 'everything'} is switched off; perfopt unkill {name or ''}".rstrip() + " lets it come back")


def _is_declared(home: Path, name: str) -> bool:
    """Tell whether there is such a policy; where the ledger cannot say, a name that nobody knows counts too."""
    policies, problem = PolicySet.look(home)
    return problem is not None or name in policies.names


@click.command()
@click.argument("name", required=False)
@home_option
@who_options
def unkill(name: str | None, home: Path, named: str | None, reason: str) -> None:
    """Let what was killed come back; it starts again as proposed."""
    now_ns = time.time_ns()
    policies = PolicySet.open(home, now_ns)
    _tell(policies.unkill(name, identity(named), reason, now_ns))
    publish(policies, now_ns)


def _tell(transitions: Iterable[Transition]) -> None:
    for step in transitions:
        click.echo(f"{step.policy}: {step.from_state} → {step.to_state} ({step.reason})")
