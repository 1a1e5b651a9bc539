"""What `perfopt doctor` finds, run as a person would."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otel_perfopt import conventions as c
from otel_perfopt.decide.allocation import Allocation
from otel_perfopt.decide.decision import Decision, Snapshot

NOW_NS = time.time_ns()
PACKAGE = """
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

class Instrumentor(BaseInstrumentor):
    def instrumentation_dependencies(self):
        return []

    def _instrument(self, **kwargs):
        {body}

    def _uninstrument(self, **kwargs):
        pass
"""


def doctor(*arguments, cwd, status, **environment):
    """Run the real command and return its lines, each with its remedy."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PERFOPT_"))}
    done = subprocess.run(
        [sys.executable, "-m", "otel_perfopt.cli.main", "doctor", *map(str, arguments)],
        cwd=cwd,
        env={**kept, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def warnings_of(printed):
    return [line for line in printed.splitlines() if line.startswith("warn")]


@pytest.fixture
def home(tmp_path):
    (tmp_path / ".perfopt" / "telemetry").mkdir(parents=True)
    return tmp_path / ".perfopt"


def publish(home, *, age_s=0.0, policies=(), behind_s=0.0):
    decisions = tuple(Decision(name, "d", "tool_cache", "canary", Allocation()) for name in policies)
    snapshot = Snapshot(3, time.time_ns() - int((age_s + behind_s) * 1e9), 60.0, decisions=decisions)
    (home / "snapshot.json").write_text(snapshot.to_json())
    os.utime(home / "snapshot.json", (time.time() - age_s,) * 2)


def installed(folder, package, requirement, body="pass", library="openai"):
    """Make an installed package with an instrumentor, as a package index would leave it."""
    module = package.replace("-", "_")
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(PACKAGE.format(body=body))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Dist: {requirement}>=1\n"
    )
    (info / "entry_points.txt").write_text(f"[opentelemetry_instrumentor]\n{library} = {module}:Instrumentor\n")


def test_a_new_user_is_told_what_there_is_and_what_to_do_next(tmp_path):
    """Nothing is wrong where nothing was done yet; the next step is named, and the program is not run."""
    (tmp_path / "agent.py").write_text("open('was_run', 'w')\n")
    printed = doctor("--", "python", "agent.py", cwd=tmp_path, status=0, PATH=f"{Path(sys.executable).parent}:/usr/bin")
    assert "otel-perfopt" in printed
    assert "perfopt run python my_agent.py" in printed
    assert printed.rstrip().endswith("nothing is wrong")
    assert not (tmp_path / "was_run").exists()
    assert not (tmp_path / ".perfopt").exists()


def test_what_an_agent_wrote_is_seen(home):
    """After a run, telemetry is there, without faults."""
    (home.parent / "answers.py").write_text("def answer(question):\n    return question\n")
    (home.parent / "agent.py").write_text("import answers\n\nanswers.answer('1')\n")
    run = [sys.executable, "-m", "otel_perfopt.cli.main", "run", "--command", "answers:answer"]
    command = [*run, sys.executable, "agent.py"]
    subprocess.run(command, cwd=home.parent, check=True, timeout=60)
    printed = doctor(cwd=home.parent, status=0)
    assert "1 file(s)" in printed
    assert "none seen in the newest telemetry" in printed
    assert "ok   snapshot: none" in printed
    assert "ok   kill switch: off" in printed


def test_a_controller_whose_clock_is_behind_by_more_than_the_lease_is_told(home):
    """Written this second and expired already: the clocks differ, and agents here would silently treat nobody."""
    publish(home, behind_s=300, policies=("query-cache",))
    (warned,) = warnings_of(doctor(cwd=home.parent, status=1))
    assert "300 s behind this machine's" in warned


def test_a_snapshot_in_force_its_lease_and_its_end(home):
    """What is in force is listed; a lease that ended with policies in force is a warning, without any is none."""
    publish(home, policies=("query-cache",))
    assert "query-cache (canary); the lease ends in" in doctor(cwd=home.parent, status=0)
    publish(home, age_s=600, policies=("query-cache",))
    (warned,) = warnings_of(doctor(cwd=home.parent, status=1))
    assert "the lease ended 9 minute(s) ago" in warned
    publish(home, age_s=600)
    doctor(cwd=home.parent, status=0)
    (home / "snapshot.json").write_text("{broken")
    (warned,) = warnings_of(doctor(cwd=home.parent, status=1))
    assert "cannot be used" in warned


def test_what_this_process_permits_is_said(home):
    """Lists that keep decisions out are named, also an empty one."""
    printed = doctor(cwd=home.parent, status=0, PERFOPT_OPTIMIZATIONS="tool_cache,preload", PERFOPT_HOSTS="")
    assert "of types of optimization only these are permitted: tool_cache, preload" in " ".join(printed.split())
    assert "of hosts only these are permitted: none" in " ".join(printed.split())


def test_switches_are_named_with_what_undoes_them(home):
    """The kill files, the environment's kill and the environment's off switch each have a line."""
    (home / "kill").touch()
    (home / "kill.d").mkdir()
    (home / "kill.d" / "cache").touch()
    printed = doctor(cwd=home.parent, status=1, PERFOPT_KILL="1", PERFOPT_DISABLED="true")
    assert len(warnings_of(printed)) == 4
    for remedy in ("unset PERFOPT_KILL", "unset PERFOPT_DISABLED", "perfopt unkill, when", "perfopt unkill cache"):
        assert f"-> {remedy}" in printed


def test_faults_broken_lines_and_dropped_spans_are_counted(home):
    """What this package did wrong inside agents, and what was lost, is told from the telemetry itself."""
    fault = {
        "name": c.FAULT_EVENT,
        "timeUnixNano": str(NOW_NS),
        "attributes": [
            {"key": c.FAULT_OPTIMIZATION, "value": {"stringValue": "tool_cache"}},
            {"key": c.ERROR_TYPE, "value": {"stringValue": "KeyError"}},
        ],
    }
    span = {
        "traceId": "1" * 32, "spanId": "2" * 16, "name": "x", "startTimeUnixNano": str(NOW_NS),
        "endTimeUnixNano": str(NOW_NS), "events": [fault, fault],
    }  # fmt: skip
    line = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    (home / "telemetry" / "a-1.jsonl").write_text(f'{line}\n{{"resourceSpans": [cut\n{line}\n')
    dropped = {"name": c.METRIC_DROPPED[0], "sum": {"dataPoints": [{"asInt": "7"}]}}
    (home / "metrics").mkdir()
    metrics = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [dropped]}]}]})
    (home / "metrics" / "a-1.jsonl").write_text(f"{metrics}\n")
    printed = doctor(cwd=home.parent, status=1)
    assert "tool_cache: KeyError (4)" in printed
    assert "1 line(s) of telemetry are broken" in printed
    assert "7 span(s) were dropped" in printed
    assert len(warnings_of(printed)) == 3


def test_what_anybody_may_change_is_a_warning(home):
    """Who can write the snapshot decides what agents do."""
    publish(home)
    (home / "snapshot.json").chmod(0o666)
    (warned,) = warnings_of(doctor(cwd=home.parent, status=1))
    assert "anybody on this machine can change" in warned


def test_clocks_that_disagree_are_a_warning(home):
    """A snapshot from the future means that leases end at the wrong time."""
    publish(home, age_s=-120)
    (warned,) = warnings_of(doctor(cwd=home.parent, status=1))
    assert warned.startswith("warn clock")
    # The command takes its time to start; on a busy machine that is seconds.
    assert re.search(r"\b(?:120|1[01]\d|[6-9]\d) s\b", warned)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"OTEL_TRACES_EXPORTER": "carrier_pigeon"}, "carrier_pigeon"),
        ({"OTEL_SDK_DISABLED": "true"}, "no span is made"),
        ({"OTEL_CONFIG_FILE": "nowhere.yaml"}, "nowhere.yaml"),
        ({"OTEL_PYTHON_TRACER_PROVIDER": "mine"}, "mine is not installed"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "nothing receives OTLP"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[broken"}, "nothing receives OTLP"),
        ({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "requests,perfopt"}, "switches otel-perfopt off"),
    ],
)
def test_an_environment_that_cannot_work_is_a_warning(tmp_path, environment, found):
    """Each wrong variable has a line, with what to set instead."""
    (warned,) = warnings_of(doctor(cwd=tmp_path, status=1, **environment))
    assert found in warned


def test_a_receiver_that_listens_is_found(tmp_path):
    """An endpoint is tried, not believed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        printed = doctor(cwd=tmp_path, status=0, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    assert f"a receiver listens at 127.0.0.1:{port}" in printed


def test_two_families_for_one_library_are_a_warning(tmp_path):
    """What doubles is named with its families, what to uninstall, and that the switch would take both."""
    installed(tmp_path / "site", "opentelemetry-instrumentation-genai-openai", "opentelemetry-util-genai")
    installed(tmp_path / "site", "openinference-instrumentation-openai", "openinference-instrumentation")
    printed = doctor(cwd=tmp_path, status=1, PYTHONPATH=str(tmp_path / "site"))
    (warned,) = warnings_of(printed)
    assert "openai is instrumented 2 times" in warned
    assert "(OpenInference)" in warned
    assert "(official GenAI)" in warned
    assert "-> keep one: pip uninstall openinference-instrumentation-openai" in printed
    doctor(cwd=tmp_path, status=0, PYTHONPATH=str(tmp_path / "site"), OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="openai")


def test_an_instrumentation_that_stops_the_others_is_a_warning(tmp_path):
    """An instrumentor that raises ends automatic instrumentation; one whose import fails is only passed over."""
    site = tmp_path / "site"
    installed(
        site,
        "opentelemetry-instrumentation-mcp",
        "opentelemetry-semantic-conventions-ai",
        "raise ValueError('no')",
        "mcp",
    )
    installed(
        site,
        "opentelemetry-instrumentation-cohere",
        "opentelemetry-semantic-conventions-ai",
        "import nothing_here",
        "cohere",
    )
    printed = doctor(cwd=tmp_path, status=1, PYTHONPATH=str(site))
    (warned,) = warnings_of(printed)
    assert "opentelemetry-instrumentation-mcp 1.0 fails" in warned
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=mcp" in printed
    assert "note families: opentelemetry-instrumentation-cohere 1.0 does nothing" in printed


def test_a_program_of_another_interpreter_is_looked_at_there(tmp_path):
    """An interpreter without this package, one that fails and a program that is not there are told apart."""
    for name, text, found in (
        ("python-bare", "#!/bin/sh\necho 'No module named otel_perfopt' >&2\nexit 1\n", "has no otel-perfopt"),
        ("python-broken", "#!/bin/sh\necho boom >&2\nexit 3\n", "failed when asked: boom"),
    ):
        program = tmp_path / name
        program.write_text(text)
        program.chmod(0o755)
        (warned,) = warnings_of(doctor("--", program, "agent.py", cwd=tmp_path, status=1))
        assert found in warned
    (warned,) = warnings_of(doctor("--", "no-such-program", cwd=tmp_path, status=1))
    assert "there is no program" in warned
    script = tmp_path / "my-agent"
    script.write_text(f"#!{sys.executable}\nprint('hello')\n")
    script.chmod(0o755)
    assert sys.executable in doctor("--", script, cwd=tmp_path, status=0)
