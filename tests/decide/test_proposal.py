"""Proposals: a finding becomes a short file a person can judge, never over anybody's file, never twice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt import conventions
from otel_perfopt.analyse.finding import Effect, Evidence, Finding, Interval, Suggestion
from otel_perfopt.decide.alert_rules import alert_rules
from otel_perfopt.decide.implementation_plan import ExpectedSize
from otel_perfopt.decide.observation import Observation
from otel_perfopt.decide.policy_file import read_policies
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.prometheus_name import COUNTER, GAUGE, metric_name
from otel_perfopt.decide.proposal import propose
from otel_perfopt.decide.publish import snapshot_of
from otel_perfopt.decide.refinement import refinements
from otel_perfopt.decide.state import State
from otel_perfopt.decide.trial_outcome import trial_outcomes
from otel_perfopt.errors import InvalidFileError, TransitionError
from otel_perfopt.execution.model import Target

NOW = 1_795_000_000_000_000_000


SIZE = ExpectedSize(units=1200, units_per_day=200.0, days=6.0)


def finding(command: str = "/query", tool: str = "search_docs", optimization: str = "tool_cache", **changes) -> Finding:
    match = {"command": (command,), "tool": (tool,)} if tool else {"command": (command,)}
    values = {
        "kind": "repeated_call",
        "target": Target(command=command, tool=tool),
        "summary": "search_docs was called 120 times with equal arguments in 50 runs.",
        "detector": "repeats",
        "effect": Effect("latency", "s", Interval(0.3, 0.24, 0.36), Interval(1.2, 1.0, 1.4)),
        "occurrences": 120,
        "runs": 50,
        "evidence": (Evidence("abc123"), Evidence("def456")),
        "suggestion": Suggestion(optimization, {"ttl": "5m"} if optimization == "tool_cache" else {}, match),
    }
    return Finding(**{**values, **changes})


def test_a_proposal_is_short_valid_and_says_why(home: Path):
    """The file holds the finding, evidence, prediction, risk and units, and is a valid policy of few lines."""
    (made,) = PolicySet.open(home, NOW).propose([finding()], NOW, size_of=lambda _policy: SIZE)
    text = (home / made.file).read_text()
    assert made.file == "policies/proposed/query-search-docs-tool-cache.yaml"
    for part in (
        "called 120 times",
        "abc123",
        "latency 30% lower",
        "24% to 36%",
        "medium",
        "about 1,200",
        "rollback",
        "6 days",
        "canary-2",
        "after approval (canary)",
    ):
        assert part in text
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 20
    (loaded,) = read_policies(home / "policies").policies
    assert loaded.digest == made.digest
    notes = loaded.policy.metadata.annotations
    assert (notes["perfopt.dev/evidence"], notes["perfopt.dev/expected-units"]) == ("abc123 def456", "1200")
    assert loaded.policy.spec.goal.improve.value == pytest.approx(0.12)
    assert loaded.policy.metadata.annotations["perfopt.dev/predicted"] == "0.3"
    assert loaded.policy.metadata.annotations["perfopt.dev/finding"] == "repeated_call: /query · search_docs"


def test_anybody_approves_what_we_wrote_and_nobody_what_they_edited(home: Path):
    """We are a proposal's author until somebody edits it; then whoever owns the file is."""
    policies = PolicySet.open(home, NOW)
    rollout = {"warmup": "0s", "steps": [{"treatment": "50%", "baseline": "50%"}]}
    (made,) = policies.propose([finding()], NOW, rollout=rollout)
    assert policies.status(made.name, NOW).authors == ("perfopt",)
    path = home / made.file
    owner = path.owner()
    path.write_text(made.text.replace("ttl: 5m", "ttl: 6m"))
    policies.reload(NOW)
    with pytest.raises(TransitionError, match="wrote"):
        policies.approve(made.name, owner, "", NOW)
    path.write_text(made.text)
    policies.reload(NOW)
    policies.approve(made.name, owner, "", NOW)
    policies.advance({}, NOW)
    assert policies.status(made.name, NOW).state.state is State.CANARY
    assert snapshot_of(policies, NOW).decisions[0].finding.startswith("repeated_call")


def test_nothing_is_proposed_twice_or_over_a_file(home: Path, declare):
    """A finding that a policy answers, that was proposed, rejected or removed before, writes nothing."""
    declare("mine", spec="")
    policies = PolicySet.open(home, NOW)
    mine = (home / "policies" / "mine.yaml").read_text()
    assert policies.propose([finding(tool="search")], NOW) == ()
    in_the_way = home / "policies" / "proposed" / "query-search-docs-tool-cache.yaml"
    in_the_way.parent.mkdir()
    in_the_way.write_text("# notes of a person\n")
    assert policies.propose([finding()], NOW) == ()
    assert in_the_way.read_text() == "# notes of a person\n"
    in_the_way.unlink()
    (made,) = policies.propose([finding(), finding()], NOW)
    assert policies.propose([finding()], NOW) == ()
    policies.reject(made.name, "alice", "no", NOW)
    assert policies.propose([finding()], NOW) == ()
    (home / made.file).unlink()
    policies.reload(NOW)
    assert PolicySet.open(home, NOW).propose([finding()], NOW) == ()
    assert (home / "policies" / "mine.yaml").read_text() == mine


def test_what_cannot_be_acted_on_is_not_proposed(home: Path, caplog):
    """No suggestion, an optimization this version lacks, or a parameter it does not know: no file."""
    policies = PolicySet.open(home, NOW)
    odd = finding(suggestion=Suggestion("tool_cache", {"speed": 9}, {"tool": ("x",)}))
    assert policies.propose([finding(suggestion=None), finding(optimization="preload"), odd], NOW) == ()
    assert "speed" in caplog.text
    assert not (home / "policies" / "proposed").exists()
    with pytest.raises(InvalidFileError, match=r"with\.speed"):
        propose(odd, NOW, [])


def test_an_unknown_effect_is_said_to_be_unknown():
    """Without an interval nothing is predicted and nothing asked of the goal."""
    made = propose(finding(effect=Effect("latency", "s")), NOW, [])
    assert "is not known yet" in made.text
    assert made.predicted is None
    assert made.policy.spec.goal.improve.value == 0


NAMES = st.text(min_size=1, max_size=120).filter(lambda name: name.strip())


@settings(deadline=None, max_examples=150)
@given(NAMES, NAMES, st.text(max_size=300))
def test_names_from_telemetry_cannot_break_the_file(command: str, tool: str, summary: str):
    """Whatever tools, commands and findings are called, the file is valid, names them exactly and adds no line."""
    made = propose(finding(command, tool, summary=summary), NOW, [])
    assert made.policy.spec.match.tool == (tool,)
    assert made.policy.spec.match.command == (command,)
    lines = made.text.split("\n")
    start = lines.index("apiVersion: perfopt.dev/v1")
    assert all(line.startswith("# ") for line in lines[:start])


def test_a_name_that_no_file_can_hold_is_refused(home: Path):
    """Half a character (a lone surrogate) in a name is refused, and the other findings are still proposed."""
    broken = finding(tool="search\ud800")
    with pytest.raises(InvalidFileError):
        propose(broken, NOW, [])
    assert len(PolicySet.open(home, NOW).propose([broken, finding()], NOW)) == 1


def larger(by: float) -> Finding:
    return finding(effect=Effect("latency", "s", Interval(0.3 + by, 0.24 + by, 0.36 + by)))


def test_the_rules_in_a_proposal_are_a_prometheus_rule_file(home: Path):
    """Uncommented, the alerts are YAML with a group of rules about this policy and metrics the controller has."""
    (made,) = PolicySet.open(home, NOW).propose([finding()], NOW)
    rules = "\n".join(line[4:] for line in made.text.splitlines() if line.startswith("#   ") and "canary" not in line)
    groups = yaml.safe_load(rules[rules.index("groups:") :])["groups"]
    assert groups[0]["name"] == f"perfopt-{made.name}"
    assert [rule["alert"] for rule in groups[0]["rules"]] == [rule.alert for rule in alert_rules(made.policy)]
    known = {
        metric_name(*value, kind)
        for name, value in vars(conventions).items()
        if name.startswith("METRIC_") and isinstance(value, tuple)
        for kind in (COUNTER, GAUGE)
    }
    for rule in groups[0]["rules"]:
        used = set(re.findall(r"perfopt_[a-z0-9_]+(?=[{ \[)])", re.sub(r"by \([^)]*\)|\{[^}]*\}", " ", rule["expr"])))
        assert used
        assert used <= known, rule["expr"]
        assert rule["annotations"]["summary"]


def test_a_proposal_comes_again_only_when_it_promises_surely_more(home: Path):
    """The same estimate or a little more is an answer given; far beyond the old interval it is told once more."""
    policies = PolicySet.open(home, NOW)
    (first,) = policies.propose([finding()], NOW)
    policies.reject(first.name, "ann", "not worth it", NOW)
    assert policies.propose([finding()], NOW) == ()
    assert policies.propose([larger(0.05)], NOW) == ()
    (second,) = policies.propose([larger(0.3)], NOW)
    assert second.name == f"{first.name}-2"
    assert (home / first.file).read_text() == first.text
    assert policies.propose([larger(0.3)], NOW) == ()
    again = PolicySet.open(home, NOW)
    again.reject(second.name, "ann", "still not", NOW)
    assert again.propose([larger(0.3)], NOW) == ()
    assert len(again.propose([larger(0.6)], NOW)) == 1


def test_what_did_harm_is_not_proposed_again_under_another_name(home: Path):
    """However much it promises: the quarantine of a digest is not got round by a new file."""
    policies = PolicySet.open(home, NOW)
    rollout = {"warmup": "0s", "steps": [{"treatment": "50%", "baseline": "50%"}]}
    (made,) = policies.propose([finding()], NOW, rollout=rollout)
    policies.approve(made.name, "ann", "", NOW)
    policies.advance({}, NOW)
    policies.advance({made.name: Observation(conclusion="worse")}, NOW)
    assert policies.status(made.name, NOW).state.state is State.ROLLED_BACK
    assert policies.propose([larger(0.5)], NOW) == ()


def test_another_value_is_proposed_after_harm(home: Path):
    """A refinement names its value, and may come after what it refines was taken back."""
    policies = PolicySet.open(home, NOW)
    rollout = {"warmup": "0s", "steps": [{"treatment": "50%", "baseline": "50%"}]}
    (made,) = policies.propose([finding()], NOW, rollout=rollout)
    refined = refinements(trial_outcomes(policies.ledger.entries))
    assert refined == ()
    policies.approve(made.name, "ann", "", NOW)
    policies.advance({}, NOW)
    policies.advance({made.name: Observation(conclusion="worse", reason="stale results")}, NOW)
    (again,) = policies.propose(refinements(trial_outcomes(policies.ledger.entries)), NOW)
    assert again.name == "query-search-docs-tool-cache-ttl-150s"
    assert again.policy.spec.optimize.parameters.ttl_s == 150.0
    assert "stale results" in again.text
    assert policies.status(again.name, NOW).state.state is not State.CANARY


def test_drafts_write_nothing(home: Path):
    """What would be proposed can be looked at first."""
    policies = PolicySet.open(home, NOW)
    (draft,) = policies.drafts([finding()], NOW)
    assert draft.name == "query-search-docs-tool-cache"
    assert not (home / "policies" / "proposed").exists()
    assert len(policies.propose([finding()], NOW)) == 1
