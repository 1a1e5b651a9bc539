"""Check, plan, propose, extend, learned and the ledger's heads, run as a person would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from otel_perfopt.decide.observation import Observation
from otel_perfopt.decide.policy_set import PolicySet

NOW = 1_795_000_000_000_000_000
DAY = 86_400 * 10**9
POLICY = """apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: cache, author: somebody}
spec:
  match: {command: "*"}
  effects: {"*": read}
  optimize: {type: tool_cache, with: {ttl: 24h, scope: conversation}}
  rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}]}
  goal: {metric: latency}
"""


def perfopt(*arguments, cwd, status=0, **environment):
    """Run the real command in a process of its own and return its output and what it complained."""
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
    return done.stdout, done.stderr


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / ".perfopt"
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "cache.yaml").write_text(POLICY)
    return folder


# --- check ----------------------------------------------------------------------------------------


def test_check_writes_for_people_programs_and_github(home, tmp_path):
    """The same problem in three forms, with status 1 in each; what can be used is named."""
    bad = home / "policies" / "bad.yaml"
    bad.write_text(POLICY.replace("name: cache", "name: bad").replace("spec:", "spec:\n  when: {finding: trendd}"))
    text = perfopt("check", cwd=tmp_path, status=1)
    assert "cache: ok" in text[0]
    assert (
        "bad.yaml:5:19: spec.when.finding: 'trendd' is no finding that the analysis has a word for; did you mean 'trend'?"
        in text[1]
    )
    document = json.loads(perfopt("check", "--format", "json", cwd=tmp_path, status=1)[0])
    assert [policy["name"] for policy in document["policies"]] == ["cache"]
    assert (document["problems"][0]["line"], document["problems"][0]["field"]) == (5, "spec.when.finding")
    (line,) = perfopt("check", "--format", "github", cwd=tmp_path, status=1)[0].splitlines()
    assert line.startswith(
        "::error file=.perfopt/policies/bad.yaml,line=5,col=19,title=perfopt check::spec.when.finding: "
    )
    bad.unlink()
    assert perfopt("check", "--format", "github", cwd=tmp_path) == ("", "")


def test_check_takes_the_files_a_commit_touches(home, tmp_path):
    """As a hook it is given boundary and group files too, each read as what it is."""
    (home / "boundary.yaml").write_text(
        "apiVersion: perfopt.dev/v1\nkind: SafetyBoundary\nmetadata: {name: b}\nspec: {maxTtl: 1h}\n"
    )
    (home / "groups.yaml").write_text("oncall: [ann]\n")
    files = [home / "boundary.yaml", home / "groups.yaml", home / "policies" / "cache.yaml"]
    said = perfopt("check", *files, cwd=tmp_path, status=1)[1]
    assert said.strip().endswith("cache: spec.optimize.with.ttl is 1d, allowed is 1h (boundary b)")
    (home / "boundary.yaml").write_text("kind: SafetyBoundary\nmetadata: {name: b}\n")
    assert "boundary.yaml:1:1: apiVersion: is required" in perfopt("check", *files, cwd=tmp_path, status=1)[1]
    assert "there is no nowhere" in perfopt("check", "nowhere", cwd=tmp_path, status=1)[1]


def test_the_hook_for_commits_names_this_command():
    """`.pre-commit-hooks.yaml` runs `perfopt check` on policy files and nothing else."""
    (hook,) = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
    assert hook["entry"] == "perfopt check"
    for file, meant in (
        ("policies/a.yaml", True),
        (".perfopt/policies/x/b.yml", True),
        ("boundary.yaml", True),
        ("a.yaml", False),
    ):
        assert bool(re.search(hook["files"], file)) is meant


# --- plan -----------------------------------------------------------------------------------------


def test_plan_says_who_what_how_long_and_what_is_forbidden(home, tmp_path, shared_data):
    """On recorded sessions: eligible units, a prediction with its interval, steps, limits and alerts; nothing is written."""
    (home / "boundary.yaml").write_text(
        "apiVersion: perfopt.dev/v1\nkind: SafetyBoundary\nmetadata: {name: b}\nspec: {maxExposure: 20%, tools: {deny: [rm]}}\n"
    )
    recorded = shared_data / "claude-code"
    before = sorted(home.rglob("*"))
    document = json.loads(perfopt("plan", "cache", "--from", recorded, "--json", cwd=tmp_path)[0])
    (plan,) = document["plans"]
    assert plan["eligible"]["units"] == plan["eligible"]["units_in_all"] == 12
    assert 0 < plan["eligible"]["share"] <= 1
    assert plan["predicted"]["low"] <= plan["predicted"]["estimate"] <= plan["predicted"]["high"]
    assert [step["stage"] for step in plan["steps"]] == ["canary-1", "active"]
    assert plan["steps"][0]["allocation"] == {"treatment": 0.2, "baseline": 0.5, "start": 0.0}
    assert any("treatment is 50%, allowed is 20%" in message for message in plan["forbidden"])
    assert any("never touches tool rm" in message for message in plan["limited"])
    assert {watched["metric"] for watched in plan["watched"]} >= {"latency", "task_failure", "fault"}
    text = perfopt("plan", "--from", recorded, cwd=tmp_path)[0]
    for part in ("12 of 12 units", "medium: a result", "PerfoptRolledBack", "forbidden:", "canary"):
        assert part in text
    assert "alert: PerfoptRolledBack" in perfopt("plan", "cache", "--alerts", cwd=tmp_path)[0]
    assert sorted(home.rglob("*")) == before


def test_plan_without_telemetry_claims_nothing(home, tmp_path):
    """What is not known is said to be unknown."""
    (plan,) = json.loads(perfopt("plan", "--json", cwd=tmp_path)[0])["plans"]
    assert plan["predicted"] is None
    assert plan["size"]["units"] is None
    assert any("no telemetry" in note for note in plan["notes"])
    assert "there is no policy 'cash'" in perfopt("plan", "cash", cwd=tmp_path, status=1)[1]


def test_propose_writes_sizes_and_learned_reads_the_ledger(tmp_path, shared_data):
    """From recordings to proposals with their plan; `learned` is honest about an empty ledger."""
    said = perfopt("propose", shared_data / "claude-code", cwd=tmp_path)[0]
    files = list((tmp_path / ".perfopt" / "policies" / "proposed").glob("*.yaml"))
    assert ("perfopt approve" in said) is bool(files)
    for file in files:
        assert "# Plan:" in file.read_text()
        assert "alert: PerfoptRolledBack" in file.read_text()
    assert "nothing yet" in perfopt("learned", cwd=tmp_path)[0]
    assert json.loads(perfopt("learned", "--json", cwd=tmp_path)[0])["outcomes"] == []


# --- extend, learned, status ----------------------------------------------------------------------


@pytest.fixture
def inconclusive(home):
    """Return a home whose policy came to the end of its comparison without a verdict."""
    policies = PolicySet.open(home, NOW)
    policies.approve("cache", "ann", "", NOW)
    policies.advance({}, NOW)
    outcome = {"effects": {"latency": {"estimate": -0.02, "low": -0.1, "high": 0.06, "level": 0.9, "absolute": False}}}
    seen = Observation("waiting", stage_units=8000, total_units=8000, outcome=outcome)
    policies.advance({"cache": seen}, NOW + DAY)
    assert policies.status("cache", NOW).state.state == "inconclusive"
    return home


def test_an_inconclusive_policy_is_extended_by_command(inconclusive, tmp_path):
    """It says why not, then goes on after a new approval; the ledger tells the story."""
    assert "say why" in perfopt("extend", "cache", "--units", 500, cwd=tmp_path, status=1)[1]
    refused = perfopt("extend", "cache", "--duration", "7d", "--reason", "more", cwd=tmp_path, status=1)[1]
    assert "needs --units" in refused
    assert "no duration" in perfopt("extend", "cache", "--duration", "soon", cwd=tmp_path, status=2)[1]
    said = perfopt("extend", "cache", "--units", 500, "--duration", "30d", "--reason", "a slow week", cwd=tmp_path)[0]
    assert "inconclusive → awaiting approval (a slow week)" in said
    assert "canary" in perfopt("approve", "cache", "--as", "ann", cwd=tmp_path)[0]
    shown = perfopt("ledger", "show", "cache", cwd=tmp_path)[0]
    assert "goes on at step 1" in shown
    assert "inconclusive → awaiting approval" in shown


def test_learned_shows_what_ended(inconclusive, tmp_path):
    """The trial, its measured effect and how it ended, for people and programs."""
    text = perfopt("learned", cwd=tmp_path)[0]
    assert "without a verdict" in text
    document = json.loads(perfopt("learned", "--json", cwd=tmp_path)[0])
    assert document["outcomes"][0]["realised"]["estimate"] == pytest.approx(0.02)
    assert document["effects"][0]["succeeded"] == 0


def test_status_shows_the_queue_and_needs_no_writing(home, tmp_path):
    """What waits, ranked, with risk and what it needs; also where nothing can be written, or the ledger is broken."""
    text = perfopt("status", cwd=tmp_path)[0]
    assert "What is next, by expected value" in text
    assert "medium" in text
    assert "approval (canary)" in text
    before = (home / "ledger.jsonl").read_bytes()
    (home / "policies" / "other.yaml").write_text(POLICY.replace("name: cache", "name: other"))
    (home / "ledger.jsonl.lock").unlink(missing_ok=True)
    (home / "ledger.jsonl.lock").mkdir()
    text = perfopt("status", cwd=tmp_path)[0]
    assert "shown as far as it can be read" in " ".join(text.split())  # wherever a long path breaks the line
    assert "other" in text
    assert (home / "ledger.jsonl").read_bytes() == before
    (home / "ledger.jsonl").write_text("{}\n")
    assert "no ledger entry" in perfopt("status", cwd=tmp_path)[0]


# --- kill and the ledger --------------------------------------------------------------------------


def test_one_policy_is_killed_although_the_ledger_cannot_be_read(home, tmp_path):
    """The switch is made first; a name that is nobody's, or no name at all, makes no file."""
    perfopt("status", cwd=tmp_path)
    assert "there is no policy" in perfopt("kill", "nobody", cwd=tmp_path, status=1)[1]
    assert not (home / "kill.d").exists()
    (home / "ledger.jsonl").write_text("{}\n")
    assert "no ledger entry" in perfopt("kill", "cache", cwd=tmp_path, status=1)[1]
    assert (home / "kill.d" / "cache").exists()
    assert "can be no policy's name" in perfopt("kill", "../kill", cwd=tmp_path, status=1)[1]
    assert not (home / "kill").exists()


def test_a_cut_ledger_is_shown_by_heads_kept_elsewhere(inconclusive, tmp_path):
    """A chain without its last entries still verifies by itself; a head that somebody kept gives it away."""
    head = perfopt("ledger", "head", cwd=tmp_path)[0]
    (tmp_path / "heads").write_text(f"# kept by the auditors\n{head}")
    assert "through 1 heads kept elsewhere" in perfopt("ledger", "verify", "--heads", "heads", cwd=tmp_path)[0]
    file = inconclusive / "ledger.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    assert "intact" in perfopt("ledger", "verify", cwd=tmp_path)[0]
    assert "its end was cut off" in perfopt("ledger", "verify", "--heads", "heads", cwd=tmp_path, status=1)[1]
    policies = PolicySet.open(inconclusive, NOW)
    policies.rollback("cache", "mallory", "rewritten", NOW)
    assert "was rewritten" in perfopt("ledger", "verify", "--heads", "heads", cwd=tmp_path, status=1)[1]
    (tmp_path / "heads").write_text("nonsense\n")
    assert "heads:1: is neither" in perfopt("ledger", "verify", "--heads", "heads", cwd=tmp_path, status=1)[1]


def test_serving_beyond_this_machine_needs_a_token(home, tmp_path):
    """Without one only loopback is served; a token that is no secret is refused."""
    assert "--token-file" in perfopt("loop", "--once", "--serve", "0.0.0.0:0", cwd=tmp_path, status=1)[1]
    assert "HOST:PORT" in perfopt("loop", "--once", "--serve", "8318", cwd=tmp_path, status=1)[1]
    (tmp_path / "token").write_text("short")
    refused = perfopt("loop", "--once", "--serve", "127.0.0.1:0", "--token-file", "token", cwd=tmp_path, status=1)[1]
    assert "shorter than 16" in refused
    (tmp_path / "token").write_text("0123456789abcdef")
    said = perfopt("loop", "--once", "--serve", "127.0.0.1:0", "--token-file", "token", cwd=tmp_path)[1]
    assert "serving the snapshot at http://127.0.0.1:" in said
