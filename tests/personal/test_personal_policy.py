"""Policies that name people: what may be written, what is refused, and what crosses to agents."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from simulated_users import SimulatedUser, rounds

from otel_perfopt.conventions import PREFERENCE
from otel_perfopt.decide.digest import policy_digest
from otel_perfopt.decide.policy import OptimizationPolicy
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.publish import snapshot_of
from otel_perfopt.execution.model import Step, StepKind, Target
from otel_perfopt.loop.eligibility import Eligibility

DOCS = Path(__file__).resolve().parents[2] / "docs"
DIGEST = "3f1c9a0b5d7e2846"


def policy(**spec):
    whole = {"match": {"command": "/query"}, "optimize": {"type": "effort_routing"}, "goal": {"metric": "latency"}}
    document = {"apiVersion": "perfopt.dev/v1", "kind": "OptimizationPolicy", "metadata": {"name": "p"}}
    return OptimizationPolicy.model_validate({**document, "spec": {**whole, **spec}})


def test_the_example_of_the_documentation_is_a_policy():
    """What the page shows can be used as it stands."""
    text = (DOCS / "personalization.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    read = OptimizationPolicy.model_validate(yaml.safe_load(example))
    assert read.spec.match.preference == ("speed",)


def test_people_can_be_matched_and_excluded():
    """One word or a list, preferences and digests; a preference alone narrows enough."""
    one = policy(match={"preference": "speed"}, exclude={"user": DIGEST})
    several = policy(match={"command": "/query", "preference": ["speed", "cost"], "user": [DIGEST]})
    assert one.spec.match.preference == ("speed",)
    assert one.spec.exclude.user == (DIGEST,)
    assert several.spec.match.preference == ("speed", "cost")


@pytest.mark.parametrize(
    "spec",
    [
        {"match": {"preference": "fast"}},
        {"match": {"preference": "*"}},
        {"match": {"user": "ada@example.org"}},
        {"match": {"user": DIGEST.upper()}},
        {"match": {"command": "/query", "user": [f"{n:016x}" for n in range(201)]}},
        {"match": {"command": "/query", "preference": "speed"}, "optimize": {"type": "gc_tuning"}},
        {"exclude": {"preference": "quality"}, "optimize": {"type": "gc_tuning"}},
    ],
    ids=["unknown word", "pattern", "an id", "capitals", "too many", "whole process", "whole process, excluded"],
)
def test_what_cannot_be_meant_is_refused(spec):
    """Words nobody knows, ids instead of digests, long lists, and people where all calls share what is done."""
    with pytest.raises(ValidationError):
        policy(**spec)


def test_policies_without_people_mean_what_they_meant():
    """An approval from before these words existed still binds the same digest."""
    assert policy_digest(policy()) == "sha256:" + "9ffdbc3cf0ce1e0d5b3426d933569deb5b722fd0dad650e56dd625607bfdbfb8"
    assert policy_digest(policy(match={"command": "/query", "preference": "speed"})) != policy_digest(policy())


def test_what_is_declared_is_what_agents_are_told(tmp_path):
    """Preferences and digests of match and exclude stand in the decision."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "p.yaml").write_text(
        f"""
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {{name: p, author: bob}}
spec:
  mode: shadow
  match: {{command: /query, preference: [speed, cost], user: {DIGEST}}}
  exclude: {{preference: quality}}
  optimize: {{type: effort_routing}}
  goal: {{metric: latency}}
"""
    )
    policies = PolicySet.open(tmp_path, 1)
    (decision,) = snapshot_of(policies, 2).decisions
    assert (decision.match.preference, decision.match.user) == (("speed", "cost"), (DIGEST,))
    assert decision.exclude.preference == ("quality",)


def test_a_plan_counts_whom_the_policy_is_for():
    """Of runs that state a preference only those it matches would be touched."""
    template = next(rounds([SimulatedUser("t")], 1))
    start_ns, end_ns = template.command.start_ns, template.command.end_ns
    thinking = Step("t", "i", "s", StepKind.THINKING, "thinking", Target(), start_ns, end_ns)
    runs = []
    for number, word in enumerate(("speed", "quality", "speed", "")):
        command = replace(template.command, attributes={PREFERENCE: word} if word else {})
        runs.append(replace(template, command=command, steps=(thinking,), conversation_id=f"c{number}"))
    counted = {}
    for name, spec in {
        "everybody": {},
        "speed": {"match": {"command": "/query", "preference": "speed"}},
        "not quality": {"exclude": {"preference": "quality"}},
    }.items():
        eligibility = Eligibility(policy(**spec))
        for run in runs:
            eligibility.observe(run)
        counted[name] = eligibility.result().runs
    assert counted == {"everybody": 4, "speed": 2, "not quality": 3}
