"""The only reader of `os.environ`: environment variables in, frozen settings out."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What the agent side is told by its environment.

    `home` is where telemetry and the snapshot are kept; `tools` and `commands` name functions to
    instrument (`module:glob`, commands also `module:function=/name`); `effects` declares tools
    (`glob=read`); `killed` is the kill switch; `capture_content` lets prompts, arguments and results
    into spans (off, as the conventions ask), and `redact` (`module:function`) is given each first.
    `discover_tools` takes the functions that a model call's
    `tools` name as the tools. `module_loads` makes spans of imports
    that take long (off: a program's start has many). Telemetry files are rotated at `telemetry_file_bytes` and the oldest
    removed past `telemetry_total_bytes`. A command nobody declared ends after `idle_s` without a call.

    Live `metrics` go to the host's meter provider and, where telemetry is written and unless
    `write_metrics` is off, to files in `metrics` under `home`, a line in ten seconds. `prices` is a price
    table of one's own; `windows` gives context sizes in tokens where spans do not (`glob=200000`).

    Where there is a `snapshot_url` the snapshot is asked for there every `snapshot_poll_s` seconds, with
    the token given or, so that it can be exchanged, in a file; kill files in `home` count all the same.

    `optimizations` and `hosts` are all that any snapshot may use here, of types and of addresses: None leaves it to
    the snapshot, nothing named permits nothing.

    `preference` (`speed`, `quality`, `balanced`, `cost`) is of commands that state none themselves.
    """

    home: Path = Path(".perfopt")
    enabled: bool = True
    killed: bool = False
    tools: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    capture_content: bool = False
    redact: str = ""
    write_telemetry: bool = False
    service_name: str = ""
    discover_tools: bool = True
    module_loads: bool = False
    telemetry_file_bytes: int = 32 << 20
    telemetry_total_bytes: int = 512 << 20
    idle_s: float = 300.0
    metrics: bool = True
    write_metrics: bool = True
    prices: Path | None = None
    windows: tuple[tuple[str, int], ...] = ()
    snapshot_url: str = ""
    snapshot_token: str = ""
    snapshot_token_file: Path | None = None
    snapshot_poll_s: float = 1.4
    preference: str = ""
    optimizations: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> AgentSettings:
        """Read the `PERFOPT_*` variables; what is unset keeps its default."""
        source = os.environ if environment is None else environment
        return cls(
            home=Path(source.get("PERFOPT_HOME") or ".perfopt"),
            enabled=not _flag(source, "PERFOPT_DISABLED"),
            killed=_flag(source, "PERFOPT_KILL"),
            tools=_items(source, "PERFOPT_TOOLS"),
            commands=_items(source, "PERFOPT_COMMANDS"),
            effects=_items(source, "PERFOPT_EFFECTS"),
            capture_content=_flag(source, "PERFOPT_CAPTURE_CONTENT"),
            redact=source.get("PERFOPT_REDACT", "").strip(),
            write_telemetry=_flag(source, "PERFOPT_WRITE_TELEMETRY"),
            service_name=source.get("OTEL_SERVICE_NAME", ""),
            discover_tools=source.get("PERFOPT_DISCOVER_TOOLS", "").strip().lower() not in _FALSE,
            module_loads=_flag(source, "PERFOPT_MODULE_LOADS"),
            telemetry_file_bytes=int(_number(source, "PERFOPT_TELEMETRY_FILE_BYTES", 32 << 20)),
            telemetry_total_bytes=int(_number(source, "PERFOPT_TELEMETRY_TOTAL_BYTES", 512 << 20)),
            idle_s=_number(source, "PERFOPT_IDLE_S", 300.0),
            metrics=_unless_off(source, "PERFOPT_METRICS"),
            write_metrics=_unless_off(source, "PERFOPT_WRITE_METRICS"),
            prices=Path(source["PERFOPT_PRICES"]) if source.get("PERFOPT_PRICES") else None,
            windows=_windows(_items(source, "PERFOPT_CONTEXT_WINDOWS")),
            snapshot_url=source.get("PERFOPT_SNAPSHOT_URL", "").strip(),
            snapshot_token=source.get("PERFOPT_SNAPSHOT_TOKEN", "").strip(),
            snapshot_token_file=_path(source, "PERFOPT_SNAPSHOT_TOKEN_FILE"),
            snapshot_poll_s=_number(source, "PERFOPT_SNAPSHOT_POLL_S", 1.4),
            preference=source.get("PERFOPT_PREFERENCE", "").strip(),
            optimizations=_items_if_set(source, "PERFOPT_OPTIMIZATIONS"),
            hosts=_items_if_set(source, "PERFOPT_HOSTS"),
        )


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Where the controller's own telemetry goes, by the OpenTelemetry variables; the exporter reads the rest of them.

    `metrics_endpoint` is empty where none is configured or metrics are switched off; `metrics_protocol`
    is `grpc`, or anything else for HTTP. `logs_endpoint` and `logs_protocol` are the same for its logs.
    """

    metrics_endpoint: str = ""
    metrics_protocol: str = "http/protobuf"
    logs_endpoint: str = ""
    logs_protocol: str = "http/protobuf"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> ExportSettings:
        """Read `OTEL_EXPORTER_OTLP_[METRICS_]ENDPOINT` and `_PROTOCOL`, and what switches metrics off."""
        source = os.environ if environment is None else environment
        return cls(
            metrics_endpoint="" if _unwanted(source, "METRICS") else _otlp(source, "METRICS", "ENDPOINT"),
            metrics_protocol=_otlp(source, "METRICS", "PROTOCOL") or "http/protobuf",
            logs_endpoint="" if _unwanted(source, "LOGS") else _otlp(source, "LOGS", "ENDPOINT"),
            logs_protocol=_otlp(source, "LOGS", "PROTOCOL") or "http/protobuf",
        )


def certificate_variables() -> tuple[str, str]:
    """Return where the environment says that certificates are now, as OpenSSL's variables name it."""
    return os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")


def _unwanted(source: Mapping[str, str], signal: str) -> bool:
    return _flag(source, "OTEL_SDK_DISABLED") or source.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none"


def _otlp(source: Mapping[str, str], signal: str, name: str) -> str:
    specific, general = (f"OTEL_EXPORTER_OTLP_{middle}{name}" for middle in (f"{signal}_", ""))
    return (source.get(specific) or source.get(general) or "").strip()


def _path(source: Mapping[str, str], name: str) -> Path | None:
    return Path(source[name]) if source.get(name) else None


def _flag(source: Mapping[str, str], name: str) -> bool:
    return source.get(name, "").strip().lower() in _TRUE


def _unless_off(source: Mapping[str, str], name: str) -> bool:
    return source.get(name, "").strip().lower() not in _FALSE


def _windows(items: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    parts = (item.partition("=") for item in items)
    return tuple((pattern.strip(), int(size)) for pattern, _, size in parts if size.strip().isdigit())


def _items_if_set(source: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    return _items(source, name) if name in source else None


def _items(source: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in source.get(name, "").split(",") if item.strip())


def _number(source: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(source.get(name) or default)
    except ValueError:
        return default
    return value if 0 < value < math.inf else default
