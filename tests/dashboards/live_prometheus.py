"""A real Prometheus on loopback: a folder in, a server that is sent OTLP and answers PromQL out, stopped at the end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

RULES = Path(__file__).parents[2] / "dashboards" / "rules"
CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules/*.yaml]
"""
# What collector/gateway.yaml does with metrics, and nothing else.
COLLECTOR_CONFIG = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "{otlp}"}}}}}}}}
exporters:
  prometheus_remote_write:
    http: {{endpoint: "http://{prometheus}/api/v1/write"}}
    translation_strategy: UnderscoreEscapingWithSuffixes
    disable_scope_info: true
    max_batch_request_parallelism: 1
    remote_write_queue: {{num_consumers: 1}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [prometheus_remote_write]}}}}
"""
START_TIMEOUT_S = 30.0


class Way(NamedTuple):
    """How metrics come to Prometheus: by OTLP, which version 3 takes itself, or through the Collector."""

    prometheus: str
    collector: str = ""


def find(name, variable):
    """Return the path of a program: named by a variable, built by collector/build, or installed."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = os.environ.get("PERFOPT_BIN") or str(cache / "otel-perfopt")
    return os.environ.get(variable) or shutil.which(name, path=built) or shutil.which(name)


def way_here():
    """Return how it goes on this machine, or None and why not."""
    prometheus = find("prometheus", "PERFOPT_PROMETHEUS")
    if prometheus is None:
        return None, "prometheus is not installed: apt-get install prometheus, or dashboards/prometheus.sh"
    helped = subprocess.run([prometheus, "--help"], capture_output=True, text=True, check=False)
    if "enable-otlp-receiver" in helped.stdout + helped.stderr:
        return Way(prometheus), ""
    collector = find("perfopt-collector", "PERFOPT_COLLECTOR")
    if collector is None:
        return (
            None,
            f"{prometheus} takes no OTLP, and there is no Collector: dashboards/prometheus.sh or collector/build",
        )
    return Way(prometheus, collector), ""


class LivePrometheus:
    """One running server, and where metrics for it are sent."""

    def __init__(self, address, otlp_metrics):
        self.url = f"http://{address}"
        self.otlp_metrics = otlp_metrics

    def query(self, expression, at=None):
        """Return the result of an instant query, a list of series."""
        return self._get("query", query=expression, **({"time": at} if at else {}))["result"]

    def exemplars(self, expression, start, end):
        """Return the series that have exemplars."""
        return self._get("query_exemplars", query=expression, start=start, end=end)

    def names(self):
        """Return the names of all metrics."""
        return set(self._get("label/__name__/values"))

    def _get(self, what, **parameters):
        with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=10) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        return answer["data"]


@contextmanager
def running_prometheus(way, folder):
    """Run the server on a free port with its data in `folder`, and a Collector before it where it needs one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(CONFIG)
    (folder / "rules").mkdir()
    for rules in RULES.glob("*.yaml"):
        # As they are, but for how often: a test has no half minute.
        (folder / "rules" / rules.name).write_text(rules.read_text().replace("interval: 30s", "interval: 1s"))
    address, otlp = free_address(), free_address()
    features = "exemplar-storage,native-histograms" if way.collector else "exemplar-storage"
    takes = "--web.enable-remote-write-receiver" if way.collector else "--web.enable-otlp-receiver"
    command = [
        way.prometheus,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        f"--enable-feature={features}",
        takes,
    ]
    with ExitStack() as stack:
        stack.enter_context(_server(command, folder / "prometheus.log", f"http://{address}/-/ready"))
        if not way.collector:
            yield LivePrometheus(address, f"http://{address}/api/v1/otlp/v1/metrics")
            return
        configuration = folder / "collector.yaml"
        configuration.write_text(COLLECTOR_CONFIG.format(otlp=otlp, prometheus=address))
        collector = [way.collector, "--config", str(configuration)]
        stack.enter_context(_server(collector, folder / "collector.log", f"http://{otlp}/"))
        yield LivePrometheus(address, f"http://{otlp}/v1/metrics")


def free_address():
    """Return an address on loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def _server(command, log_path, ready_url):
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(ready_url):
            assert process.poll() is None, f"{command[0]} did not start:\n{log_path.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{ready_url} does not answer:\n{log_path.read_text()[-2000:]}"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url):
    try:
        with urlopen(url, timeout=1) as response:
            return response.status == 200
    except URLError as error:
        # The Collector's receiver has no page there, but it answers.
        return getattr(error, "code", None) == 404
    except OSError:
        return False
