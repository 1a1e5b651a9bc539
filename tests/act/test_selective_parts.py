"""Sections, outlines and histories: what selective context is made of."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.history import history_span
from otel_perfopt.act.outline import Outline
from otel_perfopt.act.parameters.selective_context import SelectiveContextParameters
from otel_perfopt.act.sections import sections_of

LINES = st.sampled_from(["# One", "## Two", "### Three", "text", "", "```", "#no heading", "  # nor this"])
DOCUMENTATION = """You help customers.

# Documentation

## Delivery times

Parcels arrive within four working days of dispatch.

## Refund rules

A refund goes back to the means of payment that was used.

## Warranty and repairs

Electrical articles carry a warranty of two years.

# Manners

Be kind."""
PARAMETERS = SelectiveContextParameters(min_chars=50, max_sections=1)


@given(st.lists(LINES, max_size=30).map("\n".join))
def test_sections_joined_are_the_text_again(text):
    """Nothing is lost or moved, whatever the text holds."""
    assert "\n".join(section.text for section in sections_of(text)) == text


def test_sections_know_what_they_lie_in():
    """A heading ends those of its own level and below."""
    found = {section.title: section.above for section in sections_of(DOCUMENTATION)}
    assert found["Refund rules"] == ("Documentation",)
    assert found["Manners"] == ()


def test_an_outline_names_what_it_leaves_out_and_keeps_the_rest():
    """Only reference sections go; rules of behaviour stay word for word."""
    short = Outline(DOCUMENTATION, PARAMETERS).short
    assert "four working days" not in short
    assert "Delivery times; Refund rules; Warranty and repairs" in short
    assert short.startswith("You help customers.\n\n# Documentation\n")
    assert short.endswith("# Manners\n\nBe kind.")


def test_few_and_kept_sections_stay():
    """What would save next to nothing stays, and so does what the policy keeps."""
    few = SelectiveContextParameters(min_chars=5000)
    assert Outline(DOCUMENTATION, few).short == DOCUMENTATION
    kept = Outline(DOCUMENTATION, SelectiveContextParameters(min_chars=50, keep=("refund*",)))
    assert "A refund goes back" in kept.short
    assert [section.title for section in kept.left_out] == ["Delivery times", "Warranty and repairs"]


def test_a_question_brings_the_section_it_is_about_and_a_name_brings_its_own():
    """By rare shared words, and by title; what is about nothing brings nothing."""
    outline = Outline(DOCUMENTATION, PARAMETERS)
    titles = [section.title for section in outline.left_out]
    assert [titles[n] for n in outline.asked_for("My parcel has not arrived, when was it dispatched?")] == [
        "Delivery times"
    ]
    assert [titles[n] for n in outline.named_in("found: WARRANTY AND REPAIRS")] == ["Warranty and repairs"]
    assert outline.asked_for("zzz") == []


ROLES = st.sampled_from(["user", "assistant", "tool"])
MESSAGES = st.lists(
    st.builds(lambda role, size: {"role": role, "content": "x" * size}, ROLES, st.integers(0, 50)), max_size=40
)


@given(MESSAGES, st.integers(1, 400))
def test_a_history_is_cut_at_turns_to_within_its_bound(messages, most):
    """What stays of the old turns fits, begins with a user's turn, and the turn under way is whole."""
    begin, end = history_span(messages, most)
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    if begin == end == 0:
        return
    assert begin == starts[0]
    assert end in starts
    assert end <= starts[-1]
    old = sum(len(m["content"]) + len(m["role"]) for m in messages[end : starts[-1]])
    assert old <= most


def test_a_growing_history_keeps_its_beginning_for_many_calls():
    """The cut moves in steps: most calls begin with what the call before began with."""
    messages, cuts = [], []
    for turn in range(200):
        messages += [{"role": "user", "content": "u" * 40}, {"role": "assistant", "content": "a" * 40}]
        cuts.append(history_span(messages, 2000)[1])
        assert turn < 25 or cuts[-1] > 0
    moved = sum(before != after for before, after in itertools.pairwise(cuts))
    assert moved <= 200 * 93 / 1000 + 1
