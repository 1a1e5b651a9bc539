"""The environment of a program in, where its telemetry would go and what in it cannot work out."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from otel_perfopt.cli.checkup import Line, fine, note, warning
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit.telemetry_file import FOLDER

_CONNECT_LIMIT_S: Final = 1.0
_PORTS: Final = {"grpc": 4317}


def look_at_export(environment: Mapping[str, str]) -> Iterator[Line]:
    """Yield the lines about exporters, provider, sampling and this package's own switches."""
    settings = AgentSettings.from_environment(environment)
    if not settings.enabled:
        yield warning("switches", "PERFOPT_DISABLED switches otel-perfopt off", "unset PERFOPT_DISABLED")
    if settings.killed:
        yield warning("switches", "PERFOPT_KILL switches all treatment off", "unset PERFOPT_KILL")
    yield from _permits(settings)
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield warning("export", "OTEL_SDK_DISABLED=true: no span is made at all", "unset OTEL_SDK_DISABLED")
    if settings.capture_content:
        yield note(
            "content", "prompts, arguments and results are kept in the telemetry", "unset PERFOPT_CAPTURE_CONTENT"
        )
    yield from _provider(environment)
    yield from _exporters(environment)
    yield from _sampling(environment)
    if settings.write_telemetry:
        yield fine("export", f"telemetry is written to {settings.home / FOLDER}")


def _permits(settings: AgentSettings) -> Iterator[Line]:
    for names, variable, what in (
        (settings.optimizations, "PERFOPT_OPTIMIZATIONS", "types of optimization"),
        (settings.hosts, "PERFOPT_HOSTS", "hosts"),
    ):
        if names is not None:
            yield note(
                "switches", f"of {what} only these are permitted: {', '.join(names) or 'none'}", f"unset {variable}"
            )


def _provider(environment: Mapping[str, str]) -> Iterator[Line]:
    config = environment.get("OTEL_CONFIG_FILE") or environment.get("OTEL_EXPERIMENTAL_CONFIG_FILE")
    if config and not Path(config).is_file():
        yield warning("export", f"OTEL_CONFIG_FILE names no file: {config}", "correct OTEL_CONFIG_FILE, or unset it")
    elif config:
        yield fine("export", f"the SDK is set up by {config}; other OTEL_* variables do not count")
    named = environment.get("OTEL_PYTHON_TRACER_PROVIDER")
    known = {entry.name for entry in entry_points(group="opentelemetry_tracer_provider")}
    if named and named not in known:
        fact = f"OTEL_PYTHON_TRACER_PROVIDER={named} is not installed"
        yield warning("export", fact, f"install it, or use one of: {', '.join(sorted(known))}")
    distros = sorted(entry.name for entry in entry_points(group="opentelemetry_distro"))
    if len(distros) > 1 and not environment.get("OTEL_PYTHON_DISTRO"):
        fact = f"several distributions of OpenTelemetry are installed ({', '.join(distros)}); one is taken at random"
        yield warning("export", fact, f"OTEL_PYTHON_DISTRO={distros[0]}, or uninstall the others")


def _exporters(environment: Mapping[str, str]) -> Iterator[Line]:
    known = {entry.name for entry in entry_points(group="opentelemetry_traces_exporter")}
    named = [name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip()]
    if "none" in named:
        yield note(
            "export", "OTEL_TRACES_EXPORTER=none: spans go nowhere but to perfopt's own files", "unset it to send them"
        )
        return
    for name in named:
        if name not in known:
            fact = f"OTEL_TRACES_EXPORTER names {name!r}, which is not installed"
            yield warning("export", fact, f"use one of: {', '.join(sorted(known))}")
    if not named:
        yield fine("export", "OTEL_TRACES_EXPORTER is not set: opentelemetry-instrument sends spans by otlp")
    if not named or any(name.startswith("otlp") for name in named):
        yield _endpoint(environment)


def _endpoint(environment: Mapping[str, str]) -> Line:
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", ""
    )
    said = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    port = _PORTS.get(protocol or "grpc", 4318)
    try:
        address = urlsplit(said if "://" in said else f"http://{said or f'localhost:{port}'}")
        host, port = address.hostname or "localhost", address.port or (443 if address.scheme == "https" else port)
        with socket.create_connection((host, port), timeout=_CONNECT_LIMIT_S):
            return fine("export", f"a receiver listens at {host}:{port}")
    except (OSError, ValueError, OverflowError) as error:
        where = said or f"localhost:{port} (the default)"
        fact = f"nothing receives OTLP at {where}: {error}"
        if not said:
            return note("export", fact, "start a Collector there, set OTEL_EXPORTER_OTLP_ENDPOINT, or use perfopt run")
        return warning("export", fact, "start the receiver, or correct OTEL_EXPORTER_OTLP_ENDPOINT")


def _sampling(environment: Mapping[str, str]) -> Iterator[Line]:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "")
    if sampler and sampler not in ("always_on", "parentbased_always_on"):
        share = environment.get("OTEL_TRACES_SAMPLER_ARG", "")
        fact = f"OTEL_TRACES_SAMPLER={sampler} {share}".strip() + ": only part of the runs is seen and compared"
        yield note("export", fact, "sample in the Collector instead, or expect verdicts to take longer")
