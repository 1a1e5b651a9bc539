"""What an agent's own environment permits holds whatever the snapshot says."""

from __future__ import annotations

import json

import pytest
from governed import decision, snapshot

from otel_perfopt.act.local_permit import LocalPermit
from otel_perfopt.act.snapshot_http import source_of
from otel_perfopt.settings import AgentSettings

BALANCED = {"endpoints": ["https://api.eu.example.com/v1", "https://user:pass@api.us.example.com:8443/v1"]}
SHARED = {"ttl_s": 60, "scope": "process", "store": "redis://redis.internal:6379/0"}


def kept(permit, *decisions):
    permitted, refused = permit.permitted(snapshot(*decisions))
    assert refused == len(decisions) - len(permitted.decisions)
    return [one.optimization for one in permitted.decisions]


def test_without_lists_the_snapshot_decides():
    """An environment that says nothing leaves every decision as it came."""
    assert kept(LocalPermit(), decision("tool_cache"), decision("endpoint_balancing", parameters=BALANCED)) == [
        "tool_cache",
        "endpoint_balancing",
    ]


def test_only_named_types_are_used():
    """A type that is not named stays out; where nothing is named all do."""
    both = decision("tool_cache"), decision("warm_up")
    assert kept(LocalPermit(optimizations=frozenset({"tool_cache"})), *both) == ["tool_cache"]
    assert kept(LocalPermit(optimizations=frozenset()), *both) == []


@pytest.mark.parametrize(
    ("hosts", "optimizations"),
    [
        ({"api.eu.example.com", "api.us.example.com"}, ["endpoint_balancing", "tool_cache"]),
        (
            {"api.eu.example.com", "api.us.example.com:8443", "redis.internal"},
            ["endpoint_balancing", "tool_cache", "shared"],
        ),
        ({"api.eu.example.com"}, ["tool_cache"]),
        ({"api.us.example.com:443", "api.eu.example.com"}, ["tool_cache"]),
        ({"redis.internal:6379"}, ["tool_cache", "shared"]),
        (set(), ["tool_cache"]),
    ],
)
def test_only_named_hosts_are_spoken_to(hosts, optimizations):
    """Every address a decision names must be at a host that is named; what names none is not concerned."""
    decisions = (
        decision("endpoint_balancing", parameters=BALANCED),
        decision("tool_cache"),
        decision("tool_cache", policy="shared", parameters=SHARED),
    )
    permitted, _ = LocalPermit(hosts=frozenset(hosts)).permitted(snapshot(*decisions))
    names = [one.policy if one.policy == "shared" else one.optimization for one in permitted.decisions]
    assert names == optimizations


def test_an_address_is_found_however_deep_it_is():
    """A parameter of a later version is asked about too."""
    deep = decision("tool_cache", parameters={"new": [{"places": ["https://elsewhere.example.com"]}]})
    assert kept(LocalPermit(hosts=frozenset({"here.example.com"})), deep) == []


def test_the_environment_is_followed(tmp_path):
    """A snapshot file with a decision that is not permitted here governs without it, and says so."""
    document = snapshot(decision("tool_cache"), decision("endpoint_balancing", parameters=BALANCED)).to_json()
    (tmp_path / "snapshot.json").write_text(document)
    assert len(json.loads(document)["decisions"]) == 2
    source = source_of(AgentSettings.from_environment({"PERFOPT_HOME": str(tmp_path), "PERFOPT_HOSTS": ""}))
    try:
        in_force = source.look_once()
        assert [rule.decision.optimization for rule in in_force.plan.rules] == ["tool_cache"]
        assert source.faults["not permitted here"] == 1
    finally:
        source.close()
