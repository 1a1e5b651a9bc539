"""The table of subcommands: a name in, the command that is imported only when it is asked for out."""

from __future__ import annotations

from importlib import import_module

import click

from otel_perfopt import __version__

# name -> (module, one line of help); a command's own packages are imported with its module.
COMMANDS = {
    "analyze": (
        "otel_perfopt.cli.analyze",
        "Read recorded telemetry and report what is slow, wasted and worth changing.",
    ),
    "report": (
        "otel_perfopt.cli.report",
        "Write one page: what the agents did, what to do, how each policy stands.",
    ),
    "top": ("otel_perfopt.cli.top", "Watch commands, tools and models live: rates, times, tokens, errors, in flight."),
    "run": ("otel_perfopt.cli.run", "Run a program with instrumentation on, telemetry kept in .perfopt/."),
    "doctor": ("otel_perfopt.cli.doctor", "Say what is on, missing or wrong in this environment, and what to do."),
    "demo": ("otel_perfopt.cli.demo", "Show the whole loop on the example agent, measured as it runs."),
    "loop": ("otel_perfopt.cli.loop", "Compare, promote and roll back what is in force, until stopped."),
    "serve": ("otel_perfopt.cli.serve", "Receive telemetry, run the loop and serve the web console, in one process."),
    "propose": ("otel_perfopt.cli.propose", "Write proposed policies for what the telemetry shows."),
    "check": ("otel_perfopt.cli.check", "Check policy files: schema, boundary, where they stand."),
    "plan": ("otel_perfopt.cli.plan", "Say who a policy would touch, what it should save and how long it takes."),
    "rules": ("otel_perfopt.cli.rules", "Write Prometheus alert and recording rules for policies."),
    "status": ("otel_perfopt.cli.status", "Show every policy: state, verdict, what it waits for."),
    "approve": ("otel_perfopt.cli.decide", "Approve a policy's next gate."),
    "reject": ("otel_perfopt.cli.decide", "Reject a proposed policy."),
    "rollback": ("otel_perfopt.cli.decide", "Take a policy back to baseline now."),
    "retire": ("otel_perfopt.cli.decide", "End a policy for good."),
    "retry": ("otel_perfopt.cli.decide", "Propose a rolled-back policy again, with a reason."),
    "extend": ("otel_perfopt.cli.decide", "Let an inconclusive comparison go on, with a reason."),
    "kill": ("otel_perfopt.cli.decide", "Switch treatment off at once, for one policy or all."),
    "unkill": ("otel_perfopt.cli.decide", "Return from a kill."),
    "store": (
        "otel_perfopt.cli.store",
        "Keep telemetry where years of it can be asked: import, info, compact, export.",
    ),
    "learned": ("otel_perfopt.cli.learned", "Show what ended roll-outs taught: effects, predictions, failures."),
    "preference": (
        "otel_perfopt.cli.preference",
        "Print a user's digest, as policies name users, and what is preferred.",
    ),
    "ledger": ("otel_perfopt.cli.ledger", "Show the ledger, or verify its chain."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that help is fast and extras stay optional."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None for an unknown name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table's own lines of help, importing nothing."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="perfopt")
def cli() -> None:
    """Make LLM agents faster and cheaper, with evidence."""
