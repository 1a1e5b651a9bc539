"""`retry_hedge` as a policy writes it: what the agent side reads of it, what is refused, and that old approvals hold."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from otel_perfopt.act.parameters.retry_hedge import RetryHedgeParameters
from otel_perfopt.decide.digest import policy_digest


def retrying(policy, **parameters):
    return policy(optimize={"type": "retry_hedge", "with": parameters}, match={"command": ["*"]})


def read(policy, **parameters):
    return RetryHedgeParameters.read(retrying(policy, **parameters).spec.optimize.parameters.published())


def test_the_agent_reads_what_the_policy_says(policy):
    """Every way to write it means the same on both sides."""
    assert read(policy) == RetryHedgeParameters()
    assert read(policy, tools=True).tools is True
    assert read(policy, tools="look_*").tools == ("look_*",)
    assert read(policy, tools=["a", "b"], toolRetries=4).tries_of_tools == 4
    assert (read(policy, tools=True).tries_of_tools, read(policy, retries=3).tries_of_tools) == (2, 3)
    assert read(policy, transient="shop.BusyError", maxWait="2s").transient == ("shop.BusyError",)
    assert read(policy, maxWait="2s").max_wait_s == 2.0


@pytest.mark.parametrize(
    "name", ["ValueError", "KeyError", "PermissionError", "builtins.FileNotFoundError", "Exception"]
)
def test_no_policy_calls_a_mistake_passing(policy, name):
    """A name that would make programs' own mistakes passing is refused, with the reason."""
    with pytest.raises(ValidationError, match="does not pass by itself"):
        retrying(policy, transient=[name])


@pytest.mark.parametrize("wrong", [{"tools": []}, {"toolRetries": 6}, {"tools": 3}, {"transient": ["my error"]}])
def test_what_makes_no_sense_is_refused(policy, wrong):
    """An empty list would read as no word at all, and names are names."""
    with pytest.raises(ValidationError):
        retrying(policy, **wrong)


def test_a_policy_of_before_keeps_its_digest(policy):
    """Approvals given before tools were made again still hold."""
    assert policy_digest(retrying(policy)) == BEFORE["plain"]
    assert policy_digest(retrying(policy, retries=3, onOverload=True)) == BEFORE["retries"]


BEFORE = {
    "plain": "sha256:675c0504ed9a6d713e8b690bcb4ad8d18abb599cc25d087f2f3269c536125206",
    "retries": "sha256:57bef677b34e12ae9381df71e7563edfa1a274023d029d134983f5a3dd054a8c",
}
