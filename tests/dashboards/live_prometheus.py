"""A real Prometheus on loopback: a folder in, a server that takes OTLP and answers PromQL out, stopped at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
storage: {tsdb: {out_of_order_time_window: 10m}}
otlp: {keep_identifying_resource_attributes: true}
"""
OLDEST = 3  # the first with an OTLP receiver that keeps exponential histograms without a feature flag
START_TIMEOUT_S = 20.0


def found(tool, variable):
    """Return the path of `prometheus` or `promtool` of at least version 3, or None and why not."""
    path = os.environ.get(variable) or shutil.which(tool)
    if path is None:
        return None, f"{tool} is not installed; dashboards/prometheus.sh builds it, {variable} names it"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d+)\.", said.stdout + said.stderr)
    # A build from the module says no version; whether it takes OTLP is what counts.
    if version is None and tool == "prometheus":
        helped = subprocess.run([path, "--help"], capture_output=True, text=True, check=False)
        return (
            (path, "") if "enable-otlp-receiver" in helped.stdout + helped.stderr else (None, f"{path} takes no OTLP")
        )
    if version is not None and int(version[1]) < OLDEST:
        return None, f"{path} is version {version[1]}; {OLDEST} is the first that takes OTLP as it is sent"
    return path, ""


class LivePrometheus:
    """One running server."""

    def __init__(self, address):
        self.url = f"http://{address}"
        self.otlp_metrics = f"{self.url}/api/v1/otlp/v1/metrics"

    def query(self, expression, at=None):
        """Return the result of an instant query, a list of series."""
        return self._get("query", query=expression, **({"time": at} if at else {}))["result"]

    def query_range(self, expression, start, end, step):
        """Return the series of a range query."""
        return self._get("query_range", query=expression, start=start, end=end, step=step)["result"]

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
def running_prometheus(path, folder):
    """Run the server on a free port with its data in `folder`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(CONFIG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                path,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
                "--web.enable-otlp-receiver",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(process, address, folder / "prometheus.log")
        yield LivePrometheus(address)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process, address, log):
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(address):
            return
        time.sleep(0.1)
    raise AssertionError(f"prometheus did not start:\n{log.read_text()[-2000:]}")


def _answers(address):
    try:
        with urlopen(f"http://{address}/-/ready", timeout=1) as response:
            return response.status == 200
    except (URLError, OSError):
        return False
