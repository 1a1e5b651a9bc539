"""What texts and structures can be recognised by elsewhere."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.signal.quoted import MarkMemo, marks_of, texts_in

TEXT = "Parcels arrive within four working days of dispatch; order O-4711 left the warehouse in Leeds on 2026-03-01."


def test_a_quotation_shares_marks_and_other_words_do_not():
    """Five words in a row, in any case and punctuation, or one specific value, are enough."""
    whole = marks_of([TEXT])
    assert whole & marks_of(["They said: PARCELS ARRIVE, within four working days!"])
    assert whole & marks_of(["It is O-4711."])
    assert not whole & marks_of(["Within days the parcels of four customers arrive from Leeds."])


def test_the_same_values_in_another_layout_have_the_same_marks():
    """A list of records, as a table and with other spaces."""
    rows = [
        {"order": f"O-47{place}", "note": f"left with neighbour {place}77 today at noon"} for place in range(10, 14)
    ]
    table = {"columns": ["order", "note"], "rows": [list(row.values()) for row in rows]}
    assert marks_of([json.dumps(rows, indent=4)]) == marks_of([json.dumps(table)])


def test_texts_are_found_in_a_clients_own_objects():
    """Plain data and objects alike, without end for what holds itself."""

    class Message:
        def __init__(self):
            self.content = "said here"
            self.me = self

    assert "said here" in set(texts_in([{"a": ("one", Message())}]))


@given(st.lists(st.text(max_size=60), max_size=6), st.text(max_size=60))
def test_the_memo_says_what_no_memo_says(texts, reply):
    """Also when it is so small that it forgets at once."""
    wanted = marks_of([reply])
    for memo in (MarkMemo(), MarkMemo(max_chars=40)):
        for _ in range(2):
            assert memo.among(texts, wanted) == marks_of(texts) & wanted
    assert memo._chars <= 40
