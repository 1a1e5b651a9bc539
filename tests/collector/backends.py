"""A folder in; the Collector, Jaeger and Prometheus as this project configures them out, each on free ports."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collector.program import COLLECTOR, LOOPBACK, Program, free_ports, program

BUILD = "build it: collector/build"


def fetched(url: str, **query: Any) -> Any:
    """Return the JSON that an address answers with."""
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=20) as response:
        return json.load(response)


class Collector:
    """One Collector: `kind` is `agent` or `gateway`; where it listens is in its fields."""

    def __init__(
        self, kind: str, folder: Path, variables: Mapping[str, str] | None = None, overlays: tuple[Path, ...] = ()
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        grpc, http, health, own = free_ports(4)
        self.grpc = f"{LOOPBACK}:{grpc}"
        self.http = f"http://{LOOPBACK}:{http}"
        self.own_metrics = f"http://{LOOPBACK}:{own}/metrics"
        self.data = folder / "data"
        self.state = folder / "state"
        self.agent_files = folder / "agents"
        configurations = [COLLECTOR / f"{kind}.yaml", *overlays]
        self.program = Program(
            [program("perfopt-collector", BUILD), *(f"--config={path}" for path in configurations)],
            folder / "log",
            f"http://{LOOPBACK}:{health}",
            {
                "COLLECTOR_OTLP_GRPC": self.grpc,
                "COLLECTOR_OTLP_HTTP": f"{LOOPBACK}:{http}",
                "COLLECTOR_HEALTH": f"{LOOPBACK}:{health}",
                "COLLECTOR_SELF_PORT": str(own),
                "COLLECTOR_STATE": str(self.state),
                "COLLECTOR_DATA": str(self.data),
                "COLLECTOR_FILES": str(self.agent_files),
                **(variables or {}),
            },
        )

    @property
    def telemetry(self) -> Path:
        """Return the folder that `perfopt analyze` is given."""
        return self.data / "telemetry"


class Jaeger:
    """Jaeger with its traces in memory."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        otlp, http, grpc = free_ports(3)
        self.otlp = f"{LOOPBACK}:{otlp}"
        self.url = f"http://{LOOPBACK}:{http}"
        self.program = Program(
            [program("jaeger", BUILD), f"--config={COLLECTOR / 'jaeger.yaml'}"],
            folder / "log",
            f"{self.url}/api/services",
            {"JAEGER_OTLP": self.otlp, "JAEGER_HTTP": f"{LOOPBACK}:{http}", "JAEGER_GRPC": f"{LOOPBACK}:{grpc}"},
        )

    def traces(self, service: str, **query: Any) -> list[dict[str, Any]]:
        """Return the traces of a service, as Jaeger's UI is given them."""
        return fetched(f"{self.url}/api/traces", service=service, limit=10000, **query)["data"] or []

    def span_ids(self, service: str) -> list[str]:
        """Return the id of every span of a service, twice where it is there twice."""
        return [span["spanID"] for trace in self.traces(service) for span in trace["spans"]]


class Prometheus:
    """Prometheus with the project's configuration, a second between two scrapes, and another target."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.url = f"http://{LOOPBACK}:{free_ports(1)[0]}"
        self.write = f"{self.url}/api/v1/write"
        self.configuration = folder / "prometheus.yaml"
        self.program = Program(
            [
                program("prometheus", "install it: apt-get install prometheus"),
                f"--config.file={self.configuration}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--web.enable-remote-write-receiver",
                "--enable-feature=native-histograms,exemplar-storage",
            ],
            folder / "log",
            f"{self.url}/-/ready",
        )

    def watch(self, gateway: Collector) -> None:
        """Scrape this gateway's own metrics; to be called before the start."""
        text = (COLLECTOR / "prometheus.yaml").read_text().replace("interval: 15s", "interval: 1s")
        self.configuration.write_text(
            text.replace(
                "127.0.0.1:8888", gateway.own_metrics.removeprefix("http://").removesuffix("/metrics")
            ).replace("../dashboards", str(COLLECTOR.parent / "dashboards"))
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what an expression gives now."""
        return fetched(f"{self.url}/api/v1/query", query=expression)["data"]["result"]

    def exemplars(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Return the exemplars of the series that an expression names."""
        found = fetched(f"{self.url}/api/v1/query_exemplars", query=expression, start=start, end=end)["data"]
        return [{**exemplar, "series": one["seriesLabels"]} for one in found for exemplar in one["exemplars"]]
