from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import time
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.signal.digest import content_digest, flow_values
from otel_perfopt.signal.emit.snapshot import SLOW_REPR_NS, Opaque, TooLargeError, take

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=30,
)


@given(PLAIN)
def test_plain_data_comes_back_equal(value):
    """Whatever is made of builtins is kept exactly."""
    assert take(value).value() == value


def test_what_the_agent_changes_afterwards_is_not_seen():
    """A snapshot shows the value as it was, however deep the change."""
    value = {"rows": [{"id": 1, "tags": ["a"]}]}
    kept = take(value)
    value["rows"][0]["tags"].append("b")
    value["rows"].append({})
    assert kept.value() == {"rows": [{"id": 1, "tags": ["a"]}]}


class Colour(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Order:
    order_id: str


class Odd:
    def __repr__(self):
        raise OSError("no")


class Point(NamedTuple):
    x: int
    y: str


@pytest.mark.parametrize(
    "value",
    [
        Order("ORD-9917"),
        {"order": Order("ORD-9917"), "on": dt.date(2026, 1, 2)},
        [Colour.RED, Level.HIGH, Point(1, "ORD-9917")],
        collections.OrderedDict(b=1, a=collections.Counter("ORD")),
        {"kind": Order, "made_by": len},
    ],
)
def test_digests_of_a_snapshot_are_those_of_the_value(value):
    """Objects, enumerations and subclasses are digested and taken apart as they would have been at once."""
    kept = take(value).value()
    assert content_digest(kept) == content_digest(value)
    assert flow_values(kept, 100) == flow_values(value, 100)


def test_an_object_that_cannot_describe_itself_is_its_type():
    """A `repr` that raises is the host's business; nothing comes of it."""
    assert take([Odd()]).value()[0].text == "<Odd>"


def test_the_budget_is_strict():
    """What takes more than the limit is refused, without having been written to its end."""
    with pytest.raises(TooLargeError):
        take([["x" * 100] * 1000] * 1000, 10_000)
    circle = []
    circle.append(circle)
    with pytest.raises(ValueError, match="cyclic"):
        take(circle)


def test_text_is_kept_by_reference():
    """A text cannot change, so it is not copied."""
    text = "x" * 1_000_000
    assert take(text).value() is text


def test_a_slow_repr_is_asked_once():
    """A type whose description takes too long is refused from then on."""
    calls = []

    class Slow:
        def __repr__(self):
            calls.append(1)
            time.sleep(2 * SLOW_REPR_NS / 1e9)
            return "slow"

    assert isinstance(take(Slow()).value(), Opaque)
    with pytest.raises(TooLargeError):
        take(Slow())
    assert len(calls) == 1
