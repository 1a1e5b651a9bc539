"""What each environment variable means: nothing in, sentences by variable out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MEANINGS: Final[Mapping[str, str]] = {
    "PERFOPT_HOME": "The folder of telemetry, metrics, snapshot, kill files and (for the controller) policies and ledger.",
    "PERFOPT_DISABLED": "Switches the whole package off: nothing is instrumented. (The field says the opposite: enabled.)",
    "PERFOPT_KILL": "The kill switch: every call is plain, whatever the snapshot says. Telemetry goes on.",
    "PERFOPT_TOOLS": "Functions that are tools: `module:glob`, separated by commas.",
    "PERFOPT_COMMANDS": "Functions that are commands: `module:function`, or `module:function=/name`.",
    "PERFOPT_EFFECTS": "What tools do: `glob=read` or `glob=write`. A tool that nobody declared is never cached, repeated or reordered.",
    "PERFOPT_CAPTURE_CONTENT": "Lets prompts, arguments and results into spans. Off, as the conventions ask.",
    "PERFOPT_REDACT": "`module:function` that is given each captured text first and returns what may be kept.",
    "PERFOPT_WRITE_TELEMETRY": "Writes spans as OTLP JSON lines to `telemetry/` under the home folder.",
    "OTEL_SERVICE_NAME": "The service's name, as everywhere in OpenTelemetry.",
    "PERFOPT_DISCOVER_TOOLS": "Takes the functions that a model call's `tools` name as the tools, without a declaration.",
    "PERFOPT_MODULE_LOADS": "Makes spans of imports that take long.",
    "PERFOPT_TELEMETRY_FILE_BYTES": "At this size a telemetry file is closed and the next begun.",
    "PERFOPT_TELEMETRY_TOTAL_BYTES": "Past this size of all telemetry files the oldest is removed.",
    "PERFOPT_IDLE_S": "After so many seconds without a call a command that nobody declared has ended.",
    "PERFOPT_METRICS": "Live metrics at all.",
    "PERFOPT_WRITE_METRICS": "Writes live metrics to `metrics/` under the home folder, where telemetry is written too.",
    "PERFOPT_PRICES": "A price table of your own (JSON).",
    "PERFOPT_CONTEXT_WINDOWS": "Sizes of models' contexts in tokens, where spans do not say them: `glob=200000`.",
    "PERFOPT_SNAPSHOT_URL": "Where the snapshot is asked for, in place of the file in the home folder.",
    "PERFOPT_SNAPSHOT_TOKEN": "The bearer token for it.",
    "PERFOPT_SNAPSHOT_TOKEN_FILE": "A file with the token; it is read again, so that tokens can be exchanged.",
    "PERFOPT_SNAPSHOT_POLL_S": "Seconds between two questions for the snapshot.",
    "PERFOPT_PREFERENCE": "`speed`, `quality`, `balanced` or `cost`, for commands that state none themselves.",
    "PERFOPT_OPTIMIZATIONS": "The only types of optimization that any snapshot may use in this process; an empty value permits none.",
    "PERFOPT_HOSTS": "The only hosts (`host` or `host:port`) that any snapshot may name in this process; an empty value permits none.",
}
ELSEWHERE: Final[Mapping[str, str]] = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Where agents send spans and metrics; and where `perfopt loop` sends its own metrics and the ledger's heads, once it is set.",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "The same for metrics alone.",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "The same for the ledger's heads alone.",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "`grpc` or `http/protobuf`.",
    "OTEL_METRICS_EXPORTER": "`otlp` to send metrics; `none` switches the controller's off.",
    "OTEL_SDK_DISABLED": "Switches OpenTelemetry off, and with it this package's spans and metrics.",
    "OTEL_BSP_SCHEDULE_DELAY": "Milliseconds between two batches of spans; what the loop sees is that old.",
}
