"""The agent over real HTTP and a real database: right answers, honest failures, streaming alike."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from support import customers, database, shop_client, truth
from support.agent import SupportAgent, TaskFailed, client_for, default_client
from support.errors import ConflictError
from support.tools import TOOLS


def a_command(kind: str) -> customers.Command:
    """Return the first command of a kind that the seeded traffic holds."""
    return next(c for number in range(100) for c in customers.conversation(1, number) if c.kind == kind)


def test_every_query_is_answered_right(shop):
    """One conversation answers all kinds of questions with what the database and the documentation say."""
    agent = SupportAgent(session_id="all-queries")
    for kind in customers.QUERY_KINDS:
        command, started = a_command(kind), time.time()
        answer = agent.ask(command.text)
        assert truth.problem_with(shop, command, answer, started, time.time()) is None, answer


@pytest.mark.parametrize("kind", sorted(set(customers.TASK_KINDS)))
def test_every_task_is_done_exactly_once(shop, kind):
    """A task's write is in the audit trail once, and the answer says what was written."""
    command, started = a_command(kind), time.time()
    answer = SupportAgent(session_id=command.conversation).ask(command.text)
    assert truth.problem_with(shop, command, answer, started, time.time()) is None, answer


def test_streaming_gives_the_same_conversation(shop):
    """Streamed replies add up to the messages that whole replies give, and the text comes in several pieces."""
    command, pieces = a_command("status"), []
    whole = SupportAgent(session_id="whole")
    streamed = SupportAgent(session_id="streamed", stream=True, on_text=pieces.append)
    assert streamed.ask(command.text) == whole.ask(command.text) == "".join(pieces)
    assert len(pieces) > 1
    assert streamed.messages == whole.messages


def test_writing_on_a_stale_read_fails_the_task_and_writes_nothing(shop, monkeypatch):
    """When somebody changes the order between the agent's read and its write, the task fails and nothing is paid."""
    command, refund = a_command("refund"), TOOLS["refund_order"]

    def refund_too_late(**arguments):
        with closing(database.connect(shop)) as connection:
            connection.execute("UPDATE orders SET version = version + 1 WHERE id = ?", (command.order_id,))
        return refund(**arguments)

    monkeypatch.setitem(TOOLS, "refund_order", refund_too_late)
    agent = SupportAgent(session_id="conflict")
    with pytest.raises(TaskFailed, match="version") as failure:
        agent.ask(command.text)
    assert isinstance(failure.value.__cause__, ConflictError)
    assert TOOLS["get_order"](order_id=command.order_id)["refunded_cents"] == 0

    monkeypatch.undo()
    assert agent.ask(command.text).startswith("Refunded")


def test_an_unknown_order_fails_a_task_and_is_an_honest_answer_to_a_query(shop):
    """A tool's plain refusal reaches the model, which says so; only a task ends as an exception."""
    assert "no order O-9999" in SupportAgent().ask("/query Where is my order O-9999? I am customer C-001.")
    with pytest.raises(TaskFailed, match="no order O-9999"):
        SupportAgent().ask("/task Refund 1.00 for the scratch. I am customer C-001, order O-9999, reference x.")


def test_a_refund_above_the_total_is_refused(shop):
    """The shop's rule holds in the tool: nothing is written and the task fails."""
    with pytest.raises(TaskFailed, match="cannot be refunded"):
        SupportAgent().ask("/task Refund 9999.00 for the scratch. I am customer C-001, order O-1001, reference x.")
    assert TOOLS["get_order"](order_id="O-1001")["version"] == 1


def test_what_is_no_command_is_refused(backends):
    """Text without a known command is an error before any request is made."""
    with pytest.raises(ValueError, match="/query or /task"):
        SupportAgent().ask("hello")


def test_running_out_of_turns_fails(shop):
    """A command that is not answered within the turns allowed raises instead of going on."""
    with pytest.raises(TaskFailed, match="no answer after 1 turns"):
        SupportAgent(max_turns=1).ask(a_command("stock").text)


def test_another_customers_answer_never_leaks_between_threads(shop):
    """Tools keep their connections apart: the same pool serves many threads at once with right rows."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only this test needs threads

    ids = [f"C-{number:03d}" for number in range(1, 41)]
    with ThreadPoolExecutor(20) as pool:
        rows = list(pool.map(lambda customer_id: TOOLS["get_customer"](customer_id=customer_id), ids))
    assert [row["id"] for row in rows] == ids


def test_threads_that_come_together_share_one_client(backends):
    """However many conversations start at once, there is one model client and one shop client."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only the tests of threads need it

    default_client().close()
    client_for.cache_clear()
    shop_client.client().close()
    shop_client.client_for.cache_clear()
    with ThreadPoolExecutor(16) as pool:
        models = {id(each.result()) for each in [pool.submit(default_client) for _ in range(64)]}
        shops = {id(each.result()) for each in [pool.submit(shop_client.client) for _ in range(64)]}
    assert (len(models), len(shops)) == (1, 1)
