from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.signal.digest import content_digest, flow_list, flow_values
from otel_perfopt.signal.resource import resource_name

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def shares(arguments, result):
    return bool(flow_values(arguments, 1000)[0] & flow_values(result, 1000)[0])


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"reservation_id": "4WQ150"}, '{"reservations": ["4WQ150", "VAAOXJ"]}'),
        ({"file_path": "/home/me/repo/cli/setup.go"}, "cli/setup.go:175: func isEnabled() bool"),
        ({"file_path": "/home/me/repo/cli/setup.go"}, "total 12\n-rw-r--r-- 1 me me 1 setup.go"),
        ({"pattern": "TestResetCmd"}, "--- FAIL: TestResetCmd (0.04s)"),
        ({"command": "git show 3f2a91c"}, "3f2a91c Fix the reader"),
        ({"amount": 7447}, {"card": {"last_four": "7447"}}),
        ({"to": "Mia.Li@Example.com"}, "write to mia.li@example.com, please"),
        ({"origin": "JFK"}, [{"from": "JFK"}]),
        ({"date": "2024-05-20"}, "It leaves on 2024-05-20."),
        ({"name": "Mia Li"}, {"passenger": "Mia Li"}),
        ({"city": "Seattle"}, {"city": "Seattle"}),
    ],
)
def test_a_specific_value_is_recognised(arguments, result):
    """Ids, paths under another root, names, numbers and dates link a result to the arguments that use them."""
    assert shares(arguments, result)


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"cabin": "economy", "insurance": "no"}, {"cabin": "economy", "insurance": "no"}),
        ({"description": "List the Go files in the agent directory"}, "The agent lists files in the Go directory"),
        ({"limit": 100, "offset": 2000}, "100 rows of 2000 in 2026"),
        ({"user_id": "a1b2"}, {"user_id": "zzzz9"}),
        ({"command": "read and/or write, true/false"}, "and/or true/false"),
        ({"type": "JSON", "url": "HTTP"}, "JSON over HTTP: TODO, ERROR"),
        ({"flag": True}, {"other": True}),
        ({"path": "README.md"}, "README.md"),
    ],
)
def test_everyday_words_link_nothing(arguments, result):
    """Plain words, keys, round numbers, years and everyday acronyms and files make no dependency."""
    assert not shares(arguments, result)


@given(JSON)
def test_digest_depends_on_content_only(value):
    """A value, its copy through JSON, and its canonical text laid out anew have one digest of 16 hex digits."""
    digest = content_digest(value)
    assert digest == content_digest(json.loads(json.dumps(value)))
    assert len(digest) == 16
    int(digest, 16)


@given(JSON, st.integers(min_value=0, max_value=20))
def test_a_cut_list_is_a_beginning_of_the_whole(value, limit):
    """With a limit, the first values are kept and the cut is told; without need, nothing is cut."""
    whole, cut_whole = flow_list(value, 10**6)
    some, cut = flow_list(value, limit)
    assert not cut_whole
    assert some == whole[:limit]
    assert cut == (len(whole) > limit)


def test_hostile_values_do_no_harm():
    """Cycles, objects that raise when printed, huge numbers and lone surrogates give an answer all the same."""

    class Hostile:
        def __repr__(self):
            raise RuntimeError

        __str__ = __repr__

    cycle: list[object] = []
    cycle.append(cycle)
    for value in (cycle, Hostile(), {"a": Hostile()}, [10**5000], "\ud800", b"\xff", {1: 2, "a": 3}, {(1, 2): 3}):
        assert len(content_digest(value)) == 16
        assert flow_values(value, 10)[1] in (True, False)
    assert flow_values(cycle, 10) == (frozenset(), True)


def test_text_beyond_the_bound_is_told():
    """More than a mebibyte of text is not looked through to its end, and that is said."""
    assert flow_values("a " * (1 << 20), 10) == (frozenset(), True)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"file_path": "/a/b.py", "offset": 3}, "/a/b.py"),
        ({"pattern": "x", "path": "/a"}, ""),
        ({"command": "cat /a"}, ""),
        ({"reservation_id": "4WQ150"}, "reservation_id=4WQ150"),
        ({"user_id": "a", "order_id": "b"}, ""),
        ({"url": "https://x.y/z"}, "https://x.y/z"),
        (None, ""),
        ("text", ""),
        ({}, ""),
    ],
)
def test_resource_name(arguments, name):
    """A file, an address or a single row names the resource; a search or a shell command names none."""
    assert resource_name(arguments) == name
