from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt.act.tidy_text import tidied

RULE = "Check the order number first."
LINES = st.sampled_from([RULE, "Be kind to everybody you meet.", "short", "# One", "## Two", "", "```", "  x = 1"])
TEXTS = st.lists(LINES, max_size=30).map("\n".join)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{RULE}\n\n{RULE}", RULE),
        (f"{RULE}\n\nCheck the  order\nnumber first.", RULE),
        ("short\n\nshort", "short\n\nshort"),
        ("# A\n\n# B\n\ntext", "# B\n\ntext"),
        ("# A\n\n## B\n\ntext", "# A\n\n## B\n\ntext"),
        ("# A\n\ntext\n\n## B", "# A\n\ntext"),
        (f"```\n{RULE}\n\n{RULE}\n```", f"```\n{RULE}\n\n{RULE}\n```"),
        ("a  \n\n\n\nb", "a\n\nb"),
        ("", ""),
    ],
)
def test_what_is_said_twice_or_not_at_all_goes(before, after):
    """Repeated paragraphs and empty sections go; short ones, fences and order stay."""
    assert tidied(before, min_chars=20) == after


def test_named_sections_go_with_everything_below_them():
    """A section ends where a heading of its own level or above begins."""
    text = "# A\n\na\n\n# Log\n\n## 2024\n\nb\n\n# C\n\nc"
    assert tidied(text, 20, ("log",)) == "# A\n\na\n\n# C\n\nc"


@given(TEXTS)
def test_tidying_again_changes_nothing(text):
    """The same text is always sent, or the provider's cache of it breaks."""
    once = tidied(text, 20)
    assert tidied(once, 20) == once


@given(TEXTS)
def test_every_sentence_is_still_said(text):
    """Whatever was said at all outside headings is said still."""
    before, after = ({line.strip() for line in side.split("\n")} for side in (text, tidied(text, 20)))
    assert {line for line in before if line and not line.startswith("#")} <= after
