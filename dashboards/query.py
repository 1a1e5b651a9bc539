"""Metrics of `conventions` in, PromQL out; every name goes through the one translation there is."""

from __future__ import annotations

from otel_perfopt import conventions as c
from otel_perfopt.decide.prometheus_name import COUNTER, GAUGE, HISTOGRAM, label_name, metric_name

Name = tuple[str, str]

# What the variable at the top of each dashboard narrows; the controller is not an agent and stays out of it.
AGENTS = 'job=~"$service"'
WINDOW = "$__rate_interval"


def label(attribute: str) -> str:
    """Return an attribute's label."""
    return label_name(attribute)


def gauge(name: Name, *matchers: str) -> str:
    """Return a selector of a gauge."""
    return _select(name, GAUGE, matchers)


def counter(name: Name, *matchers: str) -> str:
    """Return a selector of a counter."""
    return _select(name, COUNTER, matchers)


def histogram(name: Name, *matchers: str) -> str:
    """Return a selector of a native histogram."""
    return _select(name, HISTOGRAM, matchers)


def equals(attribute: str, value: str) -> str:
    """Return a matcher."""
    return f'{label(attribute)}="{value}"'


def differs(attribute: str, value: str) -> str:
    """Return a matcher of everything else."""
    return f'{label(attribute)}!="{value}"'


def rate(selector: str, *by: str, window: str = WINDOW) -> str:
    """Return how much of it comes a second, summed over instances."""
    return total(f"rate({selector}[{window}])", *by)


def total(expression: str, *by: str) -> str:
    """Return the sum, by attributes."""
    return f"sum{_by(by)}({expression})"


def greatest(expression: str, *by: str) -> str:
    """Return the greatest, by attributes: of gauges that one controller sets, and another sets after a restart."""
    return f"max{_by(by)}({expression})"


def in_states(expression: str, least: int, most: int, *by: str) -> str:
    """Return a gauge by policy, of the policies in a range of states.

    What the controller does not say any more stays visible for five minutes, its state does not.
    """
    state = greatest(gauge(c.METRIC_POLICY_STATE), c.POLICY)
    return f"{greatest(expression, c.POLICY, *by)} and on ({label(c.POLICY)}) ({state} >= {least} <= {most})"


def quantile(share: float, name: Name, *by: str) -> str:
    """Return a quantile of what agents measured."""
    return f"histogram_quantile({share}, {rate(histogram(name, AGENTS), *by)})"


def mean(name: Name, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return the mean of what agents measured."""
    spread = rate(histogram(name, AGENTS, *matchers), *by)
    return f"histogram_sum({spread}) / histogram_count({spread})"


def count_rate(name: Name, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return how many values a second agents measured."""
    return f"histogram_count({rate(histogram(name, AGENTS, *matchers), *by)})"


def sum_rate(name: Name, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return the sum of the values that agents measured in a second."""
    return f"histogram_sum({rate(histogram(name, AGENTS, *matchers), *by)})"


def _select(name: Name, kind: str, matchers: tuple[str, ...]) -> str:
    inside = ",".join(matchers)
    return metric_name(*name, kind) + (f"{{{inside}}}" if inside else "")


def _by(attributes: tuple[str, ...]) -> str:
    return f" by ({', '.join(label(one) for one in attributes)}) " if attributes else " "
