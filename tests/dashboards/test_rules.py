"""Alert and recording rules: those of the whole, and those that one policy's document gives."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.cli.group import cli
from otel_perfopt.decide.alert_rules import rules_of, rules_text
from otel_perfopt.decide.policy import OptimizationPolicy

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "dashboards" / "rules"


def policy(name="task-cache", mode="active", owner="search-team"):
    return OptimizationPolicy.model_validate(
        {
            "apiVersion": "perfopt.dev/v1",
            "kind": "OptimizationPolicy",
            "metadata": {"name": name, "owner": owner},
            "spec": {
                "mode": mode,
                "match": {"command": ["/task"]},
                "optimize": {"type": "tool_cache"},
                "goal": {"metric": "latency", "improve": "10%"},
            },
        }
    )


def promtool_says(promtool, *arguments):
    done = subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def knows_no_histograms(promtool):
    done = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=False)
    said = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    # One that was built from the module says no version; it is newer.
    return said is not None and (int(said[1]), int(said[2])) < (2, 54)


def with_rules(folder, name, rules):
    """Write a promtool test file whose rule files stand in `rules`."""
    path = folder / name
    path.write_text((HERE / "promtool" / name).read_text().replace("RULES", str(rules)))
    return path


def test_rules_of_the_whole_are_valid(promtool):
    """Each file is one that promtool takes."""
    promtool_says(promtool, "check", "rules", *sorted(RULES.glob("*.yaml")))


def test_rules_of_the_whole_do_what_they_say(promtool, tmp_path):
    """Planted series fire what they should, when they should, and nothing else."""
    promtool_says(promtool, "test", "rules", with_rules(tmp_path, "whole.yaml", RULES))


def test_rules_of_commands_do_what_they_say(promtool, tmp_path):
    """Shares of failures are each command's own, and a command that fails too often is told after ten minutes."""
    if knows_no_histograms(promtool):
        pytest.skip(f"{promtool} cannot plant native histograms; dashboards/prometheus.sh builds one that can")
    promtool_says(promtool, "test", "rules", with_rules(tmp_path, "commands.yaml", RULES))


def test_rules_of_a_policy_do_what_they_say(promtool, tmp_path):
    """Harm, roll-back, lost lease, waiting approval: told for this policy, with its owner, and not for another."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "policy.yaml").write_text(rules_text([policy()]))
    promtool_says(promtool, "check", "rules", folder / "policy.yaml")
    promtool_says(promtool, "test", "rules", with_rules(tmp_path, "policy.yaml", folder))


@settings(deadline=None, max_examples=25)
@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", fullmatch=True))
def test_every_rule_is_about_its_policy(name):
    """Whatever a policy is called, each of its rules carries its name, and only once a kind."""
    group = rules_of(policy(name))
    named = [rule.get("alert") or rule["record"] for rule in group["rules"]]
    assert len(set(named)) == len(named)
    assert all(rule["labels"]["perfopt_policy"] == name for rule in group["rules"])
    assert yaml.safe_load(rules_text([policy(name)])) == {"groups": [group]}


@pytest.mark.parametrize(("mode", "expected"), [("active", True), ("canary", False), ("shadow", False)])
def test_only_a_policy_that_may_become_active_is_watched_for_it(mode, expected):
    """Nobody is told that a canary treats nobody when active was never meant."""
    alerts = {rule.get("alert") for rule in rules_of(policy(mode=mode))["rules"]}
    assert ("PerfoptActiveUntreated" in alerts) is expected


def test_the_command_writes_a_group_a_policy(tmp_path):
    """`perfopt rules` reads files and folders and prints, or writes, one group for each policy."""
    folder = HERE / "scene_home"
    printed = CliRunner().invoke(cli, ["rules", str(folder / "parallel.yaml")])
    assert printed.exit_code == 0
    names = [group["name"] for group in yaml.safe_load(printed.output)["groups"]]
    assert names == ["perfopt-task-parallel", "perfopt-noisy-parallel", "perfopt-query-tool-cache"]
    out = tmp_path / "rules.yaml"
    assert CliRunner().invoke(cli, ["rules", str(folder / "parallel.yaml"), "--out", str(out)]).exit_code == 0
    assert out.read_text(encoding="utf-8") == printed.output


def test_the_command_says_what_is_not_there(tmp_path):
    """A missing file and a home without policies are one clear line."""
    missing = CliRunner().invoke(cli, ["rules", str(tmp_path / "no.yaml")])
    assert missing.exit_code == 1
    assert "there is no" in str(missing.exception)
    (tmp_path / "policies").mkdir()
    empty = CliRunner().invoke(cli, ["rules", "--home", str(tmp_path)])
    assert "no policies there" in str(empty.exception)
