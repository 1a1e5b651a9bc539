"""The command line, run as a person would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

POLICY = """apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  goal: {metric: latency}
"""
AGENT = """
def look(key):
    return {"value": key}

def answer(question):
    return look(question)["value"]

if __name__ == "__main__":
    print(answer("42"))
"""


def perfopt(*arguments, cwd, status=0, **environment):
    """Run the real command in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "otel_perfopt.cli.main", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / ".perfopt" / "policies"
    folder.mkdir(parents=True)
    (folder / "parallel.yaml").write_text(POLICY)
    return tmp_path


def test_analyze_writes_what_it_prints(tmp_path, shared_data):
    """One command reads recordings of any kind and writes the page and the document."""
    trajectories = shared_data / "tau-bench"
    printed = perfopt("analyze", trajectories, "--html", "page.html", "--json", "document.json", cwd=tmp_path)
    assert "Findings" in printed
    document = json.loads((tmp_path / "document.json").read_text())
    assert document["counts"]["conversations"] == 100
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"", "empty"), (b"\x00\x01\x02\x03" * 50, "binary"), (b"hello\nworld\n", "understood")],
)
def test_analyze_says_what_it_found_instead(tmp_path, content, said):
    """Nothing readable is a clear message with the file's name and status 1."""
    file = tmp_path / "input.jsonl"
    if content is not None:
        file.write_bytes(content)
    printed = perfopt("analyze", file, cwd=tmp_path, status=1)
    assert "input.jsonl" in printed
    assert said in printed
    assert "Traceback" not in printed


SPAN = {
    "traceId": "1" * 32,
    "spanId": "1" * 16,
    "name": "\ud800",
    "startTimeUnixNano": "1790000000000000000",
    "endTimeUnixNano": "1790000001000000000",
    "attributes": [{"key": "gen_ai.operation.name", "value": {"stringValue": "invoke_agent"}}],
}


@pytest.fixture
def odd(tmp_path):
    """Return a recording whose only name is no text that UTF-8 can hold."""
    line = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": [SPAN]}]}]}
    file = tmp_path / "odd.jsonl"
    file.write_text(json.dumps(line) + "\n")
    return file


def test_analyze_prints_and_writes_names_that_no_encoding_holds(tmp_path, odd):
    """Half a surrogate pair in a name ends neither the report, nor the page, nor the document."""
    out = perfopt("analyze", odd, "--html", "r.html", "--json", "r.json", cwd=tmp_path)
    assert r"\ud800" in out
    assert r"\ud800" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "r.json").read_bytes())["commands"][0]["name"] == "\ud800"


def test_a_poorer_encoding_shows_escapes(tmp_path, odd):
    """Where the output is ASCII the report is still whole."""
    assert "Overview" in perfopt("analyze", odd, cwd=tmp_path, PYTHONIOENCODING="ascii")


def test_analyze_writes_the_document_to_the_output(tmp_path, odd):
    """`--json -` is the document and nothing else, for a program behind a pipe."""
    assert json.loads(perfopt("analyze", odd, "--json", "-", cwd=tmp_path))["format"] == "perfopt.report"
    assert not (tmp_path / "-").exists()


def test_analyze_does_not_wait_for_a_pipe(tmp_path):
    """A pipe cannot be read twice: it is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    assert "is a pipe" in perfopt("analyze", "pipe", cwd=tmp_path, status=1)


def test_analyze_without_a_path_says_how_to_record(tmp_path):
    """A newcomer's first call leads to the next one."""
    assert "perfopt run python my_agent.py" in perfopt("analyze", cwd=tmp_path, status=1)


def test_run_keeps_the_program_and_records_it(tmp_path):
    """A program prints and exits as without us, and what it did can be analysed."""
    (tmp_path / "my_agent.py").write_text(AGENT)
    printed = perfopt(
        *("run", "--tool", "__main__:look", "--command", "__main__:answer=/ask", sys.executable, "my_agent.py"),
        cwd=tmp_path,
    )
    assert "42" in printed
    failed = perfopt("run", sys.executable, "-c", "raise SystemExit(7)", cwd=tmp_path, status=7)
    assert "Traceback" not in failed


def test_run_of_an_unknown_program_is_one_line(tmp_path):
    """A typing mistake gives no trace."""
    assert "there is no program 'no-such-program'" in perfopt("run", "no-such-program", cwd=tmp_path, status=1)


def test_check_names_file_line_and_field(home):
    """A mistake in a policy is told where it stands, with status 1."""
    assert "parallel: ok" in perfopt("check", cwd=home)
    file = home / ".perfopt" / "policies" / "parallel.yaml"
    file.write_text(POLICY.replace("metric: latency", "metrik: latency"))
    printed = perfopt("check", cwd=home, status=1)
    assert "parallel.yaml:7:" in printed
    assert "metric" in printed


def test_a_policy_is_approved_rolled_back_and_retried_on_the_ledger(home):
    """What people say is on the ledger, and the chain holds."""
    assert "parallel" in perfopt("status", cwd=home)
    printed = perfopt("approve", "parallel", "--as", "ann", "--reason", "reads only", cwd=home)
    assert "approved by ann" in printed
    printed = perfopt("approve", "parallel", "--as", "somebody", cwd=home, status=1)
    assert "perfopt: " in printed
    assert "rejected" in perfopt("reject", "parallel", "--as", "ann", "--reason", "not now", cwd=home)
    assert "proposed" in perfopt("retry", "parallel", "--as", "ann", "--reason", "now", cwd=home)
    assert "switched off" in perfopt("kill", "--as", "ann", cwd=home)
    assert Path(home, ".perfopt", "kill").exists()
    perfopt("unkill", "--as", "ann", cwd=home)
    assert not Path(home, ".perfopt", "kill").exists()
    assert "intact" in perfopt("ledger", "verify", cwd=home)
    shown = perfopt("ledger", "show", "parallel", cwd=home)
    assert "reads only" in shown
    assert "not now" in shown


def test_a_forged_ledger_does_not_verify(home):
    """A changed word anywhere in the ledger is found, with its line."""
    perfopt("approve", "parallel", "--as", "ann", cwd=home)
    file = home / ".perfopt" / "ledger.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"ann"', b'"bob"'))
    assert "perfopt: " in perfopt("ledger", "verify", cwd=home, status=1)


def test_help_names_every_command_and_needs_nothing_heavy(tmp_path):
    """Help is fast and complete."""
    printed = perfopt("--help", cwd=tmp_path)
    for command in ("analyze", "run", "demo", "status", "approve", "reject", "rollback", "kill", "check"):
        assert command in printed


def test_a_missing_extra_is_named(tmp_path):
    """A bare install says exactly what to install."""
    blocker = (
        "import sys; sys.modules['click'] = None; from otel_perfopt.cli.main import main; raise SystemExit(main())"
    )
    done = subprocess.run([sys.executable, "-c", blocker], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "pip install 'otel-perfopt[analysis]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_turn_of_the_loop_ends(home):
    """`--once` is what a cron job calls."""
    perfopt("loop", "--once", cwd=home)
    assert Path(home, ".perfopt", "snapshot.json").exists()


def test_kill_works_when_the_ledger_does_not(home):
    """Where the ledger cannot be read the command fails and says so, but treatment is off."""
    (home / ".perfopt" / "ledger.jsonl").write_text("{}\n")
    assert "no ledger entry" in perfopt("kill", cwd=home, status=1)
    assert (home / ".perfopt" / "kill").exists()


def cost_by(tmp_path, shared_data, *arguments):
    """Return the cost of the recorded sessions as `perfopt analyze` gives it."""
    document = tmp_path / "document.json"
    perfopt("analyze", shared_data / "claude-code", "--quiet", "--json", document, *arguments, cwd=tmp_path)
    return json.loads(document.read_text())["cost_usd"]


def test_a_named_table_stands_alone(tmp_path, shared_data):
    """With --prices a model that the table does not know has no price, rather than the shipped one."""
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"as_of": "today", "models": {"no-such-model": {"input": 1, "output": 1}}}))
    assert cost_by(tmp_path, shared_data) > 0
    assert cost_by(tmp_path, shared_data, "--prices", own) is None


def test_a_table_in_the_home_folder_goes_before_the_shipped_one(tmp_path, shared_data):
    """In the home folder only the models that it names are changed."""
    home = tmp_path / ".perfopt"
    home.mkdir()
    shipped = cost_by(tmp_path, shared_data)
    free = {"input": 0, "output": 0, "cache_read": 0, "cache_write": 0}
    (home / "prices.json").write_text(json.dumps({"models": {"claude-opus-4-6": free}}))
    assert 0 < cost_by(tmp_path, shared_data) < shipped
