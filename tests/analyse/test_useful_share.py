"""How much of a context is used, on runs and conversations whose truth was planted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.useful_passages import Exchange, passage_use
from otel_perfopt.analyse.useful_share import UsefulResults
from otel_perfopt.signal.digest import flow_values
from tests.analyse.planted import PlantedSource, RunWriter


def digests(*texts):
    return flow_values(list(texts), 100)[0]


def a_run(number, *, used=True, later_calls=2, said=""):
    """Return a run: a call of the model, a lookup of 100 tokens with two values, a call that may use one, more calls."""
    writer = RunWriter(conversation=f"c{number}")
    writer.infer(sent=100)
    found = digests(f"R-{number}001", f"R-{number}002")
    writer.tool("lookup", gives=found, attributes={c.RESULT_TOKENS: 100})
    writer.infer(sent=200)
    writer.tool("book", needs=digests(f"R-{number}001") if used else digests("Q-77777"))
    for _ in range(later_calls):
        writer.infer(sent=200)
        if said:
            writer.steps[-1] = replace(writer.steps[-1], attributes={c.GEN_AI_OUTPUT_MESSAGES: said})
    return writer.done()


def test_a_result_counts_up_to_the_last_reply_that_used_it():
    """One value of two, used by the first of three calls that carry it: a sixth of what was sent for it."""
    useful = UsefulResults()
    for number in range(30):
        useful.observe(a_run(number))
    found = useful.result()
    assert found.share.estimate == pytest.approx(1 / 6)
    assert (found.results, found.judged) == (60, 30)
    assert found.carried_tokens == 30 * 300
    assert not found.with_replies


def test_what_nobody_used_is_nothing_and_too_little_is_no_share():
    """Unused results have a share of zero; a handful of results has none."""
    none, few = UsefulResults(), UsefulResults()
    for number in range(30):
        none.observe(a_run(number, used=False))
    few.observe(a_run(99))
    assert none.result().share.estimate == 0
    assert few.result().share is None


def test_captured_replies_count_too():
    """With content, a value that the last reply says is used up to there."""
    useful = UsefulResults()
    for number in range(30):
        useful.observe(a_run(number, used=False, said=f"Your number is R-{number}002."))
    found = useful.result()
    assert found.with_replies
    assert found.share.estimate == pytest.approx(1 / 2)


def test_the_analysis_has_it():
    """It is part of what is known of contexts."""
    analysis = analyse(PlantedSource([a_run(number) for number in range(30)]))
    assert analysis.context.useful.share.estimate == pytest.approx(1 / 6)


PARAGRAPH = "Parcels arrive within four working days of dispatch from the warehouse in Leeds."
OTHER = "Electrical articles carry a warranty of two years after they were delivered."


def asking(*messages, tools=None):
    request = {"messages": [{"role": "user", "content": text} for text in messages]}
    return {**request, "tools": tools} if tools else request


def test_a_quoted_paragraph_is_used_and_its_neighbour_is_not():
    """Half of two paragraphs, when the reply quotes one."""
    use = passage_use([Exchange(asking(f"{PARAGRAPH}\n\n{OTHER}\n"), f"As it says: {PARAGRAPH}")])
    assert use.share == pytest.approx((len(PARAGRAPH) + 1) / (len(PARAGRAPH) + len(OTHER) + 3), abs=0.02)


def test_it_is_useful_until_it_is_used_last():
    """Sent three times and quoted in the second reply: two of three."""
    request = asking(PARAGRAPH)
    use = passage_use([Exchange(request, ""), Exchange(request, PARAGRAPH), Exchange(request, "fine")])
    assert use.share == pytest.approx(2 / 3)


def test_the_row_of_a_result_that_an_argument_comes_from_is_used():
    """One of ten rows; the same in the form of a table."""
    rows = [{"order": f"O-{1000 + number}", "note": f"door {number}"} for number in range(10)]
    table = {"columns": ["order", "note"], "rows": [list(row.values()) for row in rows]}
    for content in (json.dumps(rows), json.dumps(table)):
        use = passage_use([Exchange(asking(content), "", [("refund", {"order": "O-1004"})])])
        assert use.share == pytest.approx(0.1, abs=0.05)


def test_what_is_said_twice_counts_once_and_is_told():
    """The second copy is repeated, the first is used."""
    use = passage_use([Exchange(asking(PARAGRAPH, PARAGRAPH), PARAGRAPH)])
    assert use.useful == use.repeated == len(PARAGRAPH)


def test_a_tool_is_used_by_being_called():
    """Of two descriptions the one of the tool that a reply calls."""
    tools = [{"type": "function", "function": {"name": name}} for name in ("one", "two")]
    use = passage_use([Exchange(asking("hello", tools=tools), "", [("two", {})])])
    assert use.useful > 0
    assert use.unused_tools == pytest.approx(use.useful, abs=2)


@given(st.lists(st.text(max_size=80), max_size=5), st.text(max_size=80))
def test_the_parts_never_exceed_the_whole(texts, reply):
    """Whatever is sent, useful and repeated are parts of it."""
    use = passage_use([Exchange(asking(*texts), reply), Exchange(asking(*texts, reply), reply)])
    assert use.useful + use.repeated + use.unused_tools <= use.sent
    assert use.share is None or 0 <= use.share <= 1
