"""`perfopt serve`: a home folder in; receiver, loop, snapshot and console in one process until stopped."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path

import click

from otel_perfopt.cli.options import home_option
from otel_perfopt.console.console_settings import ConsoleSettings, allowed_hosts, is_loopback
from otel_perfopt.console.login_token import TOKEN_FILE, login_token
from otel_perfopt.console.server import running_console
from otel_perfopt.decide.catalog import POLICY_FOLDER
from otel_perfopt.errors import PerfoptError
from otel_perfopt.loop.snapshot_server import read_token


@click.command()
@home_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--policies",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of policies kept elsewhere.",
)
@click.option(
    "--store", default="", metavar="PATH_OR_URL", help="Keep telemetry in this store too, and analyse it there."
)
@click.option("--every", default=2.0, show_default=True, type=click.FloatRange(min=0.1), help="Seconds between turns.")
@click.option(
    "--analyze-every", default=60.0, show_default=True, type=click.FloatRange(min=1.0), help="Seconds between analyses."
)
@click.option("--propose/--no-propose", "proposes", default=True, help="Write proposals for what the telemetry shows.")
@click.option("--allow-remote", is_flag=True, help="Listen beyond this machine; needs --token-file.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The bearer token that agents must show to send telemetry and fetch the snapshot.",
)
@click.option("--public-url", default="", metavar="URL", help="The address that people use, where a proxy is in front.")
@click.option(
    "--show-content", is_flag=True, help="Show prompts, arguments and results of runs, where they were recorded."
)
def serve(
    *,
    home: Path,
    host: str,
    port: int,
    policies: Path | None,
    store: str,
    every: float,
    analyze_every: float,
    proposes: bool,
    allow_remote: bool,
    token_file: Path | None,
    public_url: str,
    show_content: bool,
) -> None:
    """Receive telemetry, run the loop, serve the snapshot and the web console, in one process.

    Agents send OTLP/HTTP to /v1/traces and fetch /v1/snapshot; people open the address in a browser. Whoever
    changes something logs in with the token that is printed.
    """
    if not is_loopback(host) and not (allow_remote and token_file is not None):
        raise PerfoptError(f"{host} is reached from other machines: say --allow-remote and name a --token-file")
    if policies is not None:
        _use_policies(home, policies)
    listener = _listener(host, port)
    bound = listener.getsockname()[1]
    settings = ConsoleSettings(
        home=home,
        login_token=login_token(home),
        agent_token=read_token(token_file) if token_file is not None else "",
        hosts=allowed_hosts(host, bound, public_url),
        reading_is_free=is_loopback(host) and not public_url,
        secure=public_url.startswith("https://"),
        show_content=show_content,
        store=store,
        every_s=every,
        analyse_every_s=analyze_every,
        proposes=proposes,
    )
    _serve(settings, listener, public_url or f"http://{f'[{host}]' if ':' in host else host}:{bound}")


def _serve(settings: ConsoleSettings, listener: socket.socket, address: str) -> None:
    import uvicorn

    from otel_perfopt.cli.loop import beacon, turn_metrics
    from otel_perfopt.loop.controller import Controller

    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    controller = Controller(settings.home, proposes=settings.proposes, beacon=beacon())
    with running_console(settings, controller=controller, tell=turn_metrics) as running:
        click.echo(f"console:  {address}/")
        click.echo(f"agents:   OTEL_EXPORTER_OTLP_ENDPOINT={address} PERFOPT_SNAPSHOT_URL={address}/v1/snapshot")
        click.echo(f"token:    {settings.login_token}   (kept in {settings.home / TOKEN_FILE})")
        config = uvicorn.Config(
            running.app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise PerfoptError(f"cannot listen at {host}:{port}: {error.strerror or error}") from error


def _use_policies(home: Path, policies: Path) -> None:
    """Let the home's policies be a folder elsewhere, such as a checkout.

    Raises:
        PerfoptError: the home has policies of its own.
    """
    place = home / POLICY_FOLDER
    if place.exists() and place.resolve() == policies.resolve():
        return
    if place.exists() or place.is_symlink():
        raise PerfoptError(f"{place} is there already; move its files to {policies} and remove it")
    home.mkdir(parents=True, exist_ok=True)
    place.symlink_to(policies.resolve(), target_is_directory=True)
