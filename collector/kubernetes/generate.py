#!/usr/bin/env python3
"""The Collector configurations and the frames in this folder in, OpenTelemetryCollector resources for the Operator out.

    python collector/kubernetes/generate.py           writes agent.yaml and gateway.yaml beside it
    python collector/kubernetes/generate.py --check   fails where they are not what would be written

The Operator reads the ports it opens from the configuration, and it wants it inside the resource; so what a single
machine takes from its environment is put in as text, but for what differs from node to node.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
INDENT = " " * 4
MARK = "    # The configuration is put in here by generate.py.\n"
_VARIABLE = re.compile(r"\$\{env:(?P<name>[A-Z_]+):-(?P<default>(?:[^{}]|\{[^{}]*\})*)\}")

# What is fixed inside a cluster. A variable that is not named keeps its default.
LISTEN = {
    "COLLECTOR_OTLP_GRPC": "0.0.0.0:4317",
    "COLLECTOR_OTLP_HTTP": "0.0.0.0:4318",
    "COLLECTOR_HEALTH": "0.0.0.0:13133",
    "COLLECTOR_SELF_HOST": "0.0.0.0",  # noqa: S104 - inside a pod
}
VALUES: Mapping[str, Mapping[str, str]] = {
    "agent": {**LISTEN, "COLLECTOR_GATEWAY": "perfopt-gateway-collector.observability.svc:4317"},
    "gateway": {
        **LISTEN,
        "COLLECTOR_PROMETHEUS": "http://prometheus-operated.observability.svc:9090/api/v1/write",
        "COLLECTOR_JAEGER": "jaeger.observability.svc:4317",
    },
}
# Set by the resource's own `env`, since nodes and clusters differ in them.
FROM_THE_POD = frozenset({"COLLECTOR_HOST", "COLLECTOR_ENVIRONMENT"})


def resolved(text: str, values: Mapping[str, str]) -> str:
    """Return the configuration with every variable replaced that the pod does not set."""

    def value(found: re.Match[str]) -> str:
        name = found["name"]
        return found[0] if name in FROM_THE_POD else values.get(name, found["default"])

    return _VARIABLE.sub(value, text)


def resource(name: str) -> str:
    """Return the resource `name`: its frame with the configuration put in."""
    frame = (HERE / f"{name}.frame.yaml").read_text()
    text = resolved((HERE.parent / f"{name}.yaml").read_text(), VALUES[name])
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    body = "\n".join(INDENT + line if line else "" for line in lines).strip("\n")
    if frame.count(MARK) != 1:
        raise SystemExit(f"{name}.frame.yaml: the line {MARK.strip()!r} must stand there once")
    return f"# Written by collector/kubernetes/generate.py; change {name}.frame.yaml or ../{name}.yaml instead.\n" + (
        frame.replace(MARK, body + "\n")
    )


def main() -> int:
    """Write or check all resources."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for name in VALUES:
        path, text = HERE / f"{name}.yaml", resource(name)
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale += 1
            sys.stderr.write(f"{path} is not what generate.py writes\n")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
