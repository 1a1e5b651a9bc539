from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.shorter_text import changes_since, compact_json, head_and_tail
from otel_perfopt.act.text_memo import TextMemo

NAMES = st.sampled_from(["id", "name", "total", "columns", "rows"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=30
)


def untabled(value):
    """What a reader of tables makes of them."""
    if isinstance(value, list):
        return [untabled(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["columns", "rows"] and value["rows"] and isinstance(value["columns"], list):
        return [dict(zip(value["columns"], map(untabled, row), strict=True)) for row in value["rows"]]
    return {name: untabled(item) for name, item in value.items()}


def holds_a_table_by_chance(value):
    if isinstance(value, list):
        return any(map(holds_a_table_by_chance, value))
    return isinstance(value, dict) and ("rows" in value or any(map(holds_a_table_by_chance, value.values())))


@given(VALUES.filter(lambda value: isinstance(value, (dict, list)) and not holds_a_table_by_chance(value)))
def test_a_table_can_be_read_back_to_exactly_what_it_was(value):
    """Nothing is lost: values, types, names and their order."""
    compact = compact_json(json.dumps(value, indent=2))
    assert json.dumps(untabled(json.loads(compact))) == json.dumps(value)


def test_equal_objects_say_their_names_once():
    """A list of objects becomes columns and rows; objects with other names stay objects."""
    rows = [{"id": 1, "state": "open"}, {"id": 2, "state": "shut"}]
    assert compact_json(json.dumps(rows)) == '{"columns":["id","state"],"rows":[[1,"open"],[2,"shut"]]}'
    assert compact_json('[{"id": 1, "b": 2}, {"id": 2}]') == '[{"id":1,"b":2},{"id":2}]'


def test_what_is_no_json_or_would_lose_something_is_left_alone():
    """Prose, broken JSON, and objects that give a name twice."""
    assert compact_json("The order is open.") is None
    assert compact_json('{"a": 1') is None
    assert compact_json('{"a": 1, "a": 2}') is None
    assert compact_json("[" * 100_000) is None


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.lists(st.sampled_from("abcde"), max_size=40))
def test_changes_lead_from_the_text_before_to_the_one_after(before, after):
    """A diff, where one is given, patches the old lines into the new ones."""
    changes = changes_since("\n".join(before), "\n".join(after), "it")
    if changes is not None:
        assert patched(before, changes.split("\n")[1:]) == ("\n".join(after)).split("\n")


def patched(lines, diff):
    """Apply a unified diff."""
    out, at = [], 0
    for line in diff:
        if line.startswith("@@"):
            old = line.split()[1][1:]
            start, _, size = old.partition(",")
            begin = int(start) - (0 if size == "0" else 1)
            out += lines[at:begin]
            at = begin
        elif line.startswith("+"):
            out.append(line[1:])
        else:
            assert lines[at] == line[1:]
            if line.startswith(" "):
                out.append(line[1:])
            at += 1
    return out + lines[at:]


@given(st.text(min_size=300), st.integers(min_value=60, max_value=200))
def test_head_and_tail_are_the_texts_own_and_say_what_is_missing(text, most):
    """What stays is bounded, and begins and ends as the text did."""
    short = head_and_tail(text, most)
    assert len(short) <= most + 90
    assert "characters left out" in short


def test_a_memo_forgets_the_least_used_and_never_mistakes_one_text_for_another():
    """Parts are told apart, results are made once, and bytes are bounded."""
    memo = TextMemo(max_bytes=2_000)
    made = []
    for parts in (("a", "bc"), ("ab", "c"), ("a", "bc")):
        memo.get(parts, lambda parts=parts: made.append(parts) or "".join(parts))
    assert made == [("a", "bc"), ("ab", "c")]
    for number in range(50):
        memo.get((str(number),), lambda: "x" * 50)
    assert len(memo) <= 5
