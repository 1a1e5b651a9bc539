"""The example agents and a controller at work, their metrics in a real Prometheus: everything a dashboard can show."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from otel_perfopt.bootstrap.environment import run_environment
from otel_perfopt.demo.fleet import COMMANDS, EFFECTS, TOOLS, examples_folder
from otel_perfopt.measure.home_prices import PRICES_FILE

HERE = Path(__file__).parent
FOLDER = HERE / "scene_home"
PRICES = {"as_of": "example", "models": {"support-model": {"input": 1.0, "output": 4.0, "cache_read": 0.1}}}
TIMEOUT_S = 90.0
# What must have happened before the curtain rises; each is true of a healthy scene some seconds after its start.
FIRST_ACT = ("sum(perfopt_policy_units) > 30",)
SECOND_ACT = (
    'perfopt_policy_state{perfopt_policy="noisy-parallel"} == 8',
    'perfopt_policy_effect_ratio{perfopt_role="goal"}',
    "sum(perfopt_errors_total) > 1",
    'count_over_time(perfopt_errors_total{perfopt_step_kind="command"}[1m]) > 2',
)
# A sample a second, so that a rate over half a minute has enough of them.
QUICK = {
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_METRICS_EXPORTER": "otlp",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_BSP_SCHEDULE_DELAY": "500",
}


@contextmanager
def scene(prometheus, folder):
    """Run agents and controller until `prometheus` has seen everything; both are at work inside the block."""
    home = Path(folder) / "home"
    (home / "policies").mkdir(parents=True)
    (home / PRICES_FILE).write_text(json.dumps(PRICES))
    for file in FOLDER.glob("*.yaml"):
        target = home if file.stem in {"boundary", "goals"} else home / "policies"
        (target / file.name).write_text(file.read_text())
    export = {**QUICK, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": prometheus.otlp_metrics}
    with ExitStack() as stack:
        backend = stack.enter_context(_backends(Path(folder) / "shop"))
        environment = _agent_environment(home, {**os.environ, **backend, **export})
        stack.enter_context(_controller(home, folder, export))
        agents = [stack.enter_context(_agents(number, environment, folder)) for number in range(2)]
        _wait_for(prometheus, FIRST_ACT)
        _perfopt("rollback", "noisy-parallel", "--as", "anna", "--reason", "looked wrong", "--home", str(home))
        _wait_for(prometheus, SECOND_ACT)
        yield home
        # Both end their conversations at the same time, not one after the other.
        for agent in agents:
            agent.stdin.close()


def _wait_for(prometheus, expressions):
    """Wait until each expression returns something."""
    deadline = time.monotonic() + TIMEOUT_S
    for expression in expressions:
        while not prometheus.query(expression):
            assert time.monotonic() < deadline, f"{expression} is still empty; there are {sorted(prometheus.names())}"
            time.sleep(0.5)


def _backends(folder):
    sys.path.insert(0, str(examples_folder()))
    launch = importlib.import_module("support.launch")
    return launch.running_backends(folder, error_rate=0.3)


def _agent_environment(home, base):
    environment = run_environment(
        base,
        home,
        tools=TOOLS,
        commands=COMMANDS,
        effects=tuple(f"{tool}={effect}" for tool, effect in EFFECTS.items()),
        service_name="support-agent",
    )
    return environment | {
        "PYTHONPATH": os.pathsep.join((str(HERE), environment["PYTHONPATH"])),
        "PERFOPT_MODULE_LOADS": "1",
        "PERFOPT_CONTEXT_WINDOWS": "support-model=16000",
        "PERFOPT_PRICES": str(home / PRICES_FILE),
    }


@contextmanager
def _agents(number, environment, folder):
    command = ["opentelemetry-instrument", sys.executable, "-m", "rated_workload"]
    options = {"--conversations": 100_000, "--first": number * 1_000_000, "--concurrency": 8}
    with _process(
        [*command, "--stream", "--until-input-ends", *(str(item) for pair in options.items() for item in pair)],
        environment,
        folder,
        f"agent-{number}",
    ) as process:
        yield process


@contextmanager
def _controller(home, folder, export):
    # It has no input to end with, so it is stopped by a signal.
    with _process(
        ["perfopt", "loop", "--home", str(home), "--every", "1"], {**os.environ, **export}, folder, "controller"
    ) as process:
        yield process
        process.terminate()


@contextmanager
def _process(command, environment, folder, name):
    path = Path(folder) / f"{name}.log"
    # The commands of the environment that runs the tests, whether or not its folder is on the path.
    path_of = {"PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))}
    with path.open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**environment, **path_of},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            executable=str(Path(sys.executable).parent / command[0]),
        )
    try:
        yield process
        assert process.poll() in {None, 0, -15}, f"{name} ended with {process.returncode}:\n{path.read_text()[-3000:]}"
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _perfopt(*arguments):
    subprocess.run([sys.executable, "-m", "otel_perfopt.cli.main", *arguments], check=True, capture_output=True)
