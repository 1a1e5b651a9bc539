"""The traffic: the same for a seed, judged against the truth, and telling good changes from harmful ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import catalogue, customers, database, truth, workload
from support.agent import SupportAgent
from support.launch import running_backends
from support.tools import TOOLS

CHANGED = Path(__file__).parent / "changed_workload.py"
# A run of numbers in which no two conversations are about the same customer.
SEED, FIRST, COUNT = 8, 0, 8


def options(*more: str):
    return workload.options_from(
        ["--seed", str(SEED), "--first", str(FIRST), "--conversations", str(COUNT), "--concurrency", str(COUNT), *more]
    )


def of_process(env, tmp_path, *arguments, program=("-m", "support.workload")):
    """Start traffic in a process of its own; gives the process and the file its outcomes go to."""
    out = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
    out.touch()
    command = [sys.executable, *map(str, program), *arguments, "--out", str(out)]
    return subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True), out


def outcomes_of(processes):
    """Wait for the processes; returns all their outcomes."""
    outcomes = []
    for process, out in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
        outcomes += [json.loads(line) for line in out.read_text().splitlines()]
    return outcomes


def answers(outcomes):
    """Return what was answered, without the note's number, which depends on who came first."""
    return {(o["conversation"], o["command"]): (o["answer"] or "").split(" and the note")[0] for o in outcomes}


def test_a_seed_gives_the_same_conversations():
    """Commands depend on the seed and the number only; most queries are followed by a task."""
    talks = [customers.conversation(3, number) for number in range(400)]
    assert talks == [customers.conversation(3, number) for number in range(400)]
    assert talks != [customers.conversation(4, number) for number in range(400)]
    assert all(talk[0].name == "/query" for talk in talks)
    assert 0.80 < sum(len(talk) == 2 for talk in talks) / 400 < 0.90


def test_every_question_finds_the_section_that_answers_it(shop):
    """The documentation search puts the right section first for everything the traffic asks about."""
    for text, section in customers.RULES.items():
        assert TOOLS["search_docs"](query=text)["results"][0]["title"] == section
    assert TOOLS["search_docs"](query="delivery times of parcels")["results"][0]["title"] == "Delivery times"
    assert TOOLS["search_docs"](query="out of stock backorder")["results"][0]["title"] == "Stock and backorders"


@pytest.fixture(scope="module")
def plain(backends):
    """Run the seeded conversations once on a fresh shop with nobody else at it; gives their outcomes."""
    database.close_all()
    database.create(backends["SUPPORT_DATABASE"])
    return workload.run(options("--pause", "0"))


def test_the_same_seed_gives_the_same_answers_streamed_or_not(plain, shop):
    """With nobody else at the database, two runs answer word for word alike, and right."""
    assert len({c.customer_id for n in range(COUNT) for c in customers.conversation(SEED, FIRST + n)}) == COUNT
    streamed = workload.run(options("--pause", "0", "--stream"))
    assert [o["why"] for o in plain + streamed if not o["ok"]] == []
    assert answers(plain) == answers(streamed)


def test_the_checker_refuses_what_is_not_so(shop):
    """An answer that was right on another day, or of another order, is called wrong."""
    command = next(c for n in range(50) for c in customers.conversation(1, n) if c.kind == "policy")
    order = next(order for order in catalogue.orders() if order["id"] == command.order_id)
    rule = catalogue.rule(catalogue.documents()[command.section])
    right = f"{rule} Order {order['id']} is {order['status']}."
    wrong_status = next(status for status in catalogue.STATUSES if status != order["status"])
    now = 4e9
    assert truth.problem_with(shop, command, right, now, now) is None
    assert "does not give the rule" in truth.problem_with(shop, command, right.replace(rule, "No."), now, now)
    assert "answer says" in truth.problem_with(shop, command, right.replace(order["status"], wrong_status), now, now)

    with database.pool().connection() as connection:
        connection.execute(
            "UPDATE orders SET status = ?, version = version + 1 WHERE id = ?", (wrong_status, order["id"])
        )
        connection.execute("UPDATE history SET at = at + 3600 WHERE version = 2")
    changed = database.query("SELECT at FROM history WHERE version = 2")[0]["at"]
    assert truth.problem_with(shop, command, right, changed - 9, changed - 1) is None
    assert truth.problem_with(shop, command, right, changed - 1, changed + 1) is None
    assert "answer says" in truth.problem_with(shop, command, right, changed + 1, changed + 9)


def test_traffic_stops_when_asked(shop, tmp_path, capsys):
    """SIGTERM lets running conversations end, starts no more, and the summary counts what was done."""
    out, before = tmp_path / "out.jsonl", {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    ask_to_stop = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    ask_to_stop.start()
    try:
        arguments = ["--conversations", "10000", "--concurrency", "4", "--commands", "query", "--out", str(out)]
        workload.main(arguments)
    finally:
        ask_to_stop.cancel()
        for name, handler in before.items():
            signal.signal(name, handler)
    assert json.loads(capsys.readouterr().out)["conversations"] == len(out.read_text().splitlines())
    assert 4 <= len(out.read_text().splitlines()) <= 8


def test_traffic_stops_when_its_input_does():
    """With --until-input-ends, a closed standard input stops the traffic like SIGTERM does."""
    reading, writing = os.pipe()
    stop = threading.Event()
    workload.stop_with_input(stop, reading)
    assert not stop.wait(0.05)
    os.close(writing)
    assert stop.wait(5.0)
    os.close(reading)


def test_a_cache_that_is_too_generous_fails_tasks(tmp_path):
    """With orders and customers kept in two processes, more than 30 % of the tasks that need them fail."""
    out = tmp_path / "out"
    out.mkdir()
    share = ["--conversations", "40", "--concurrency", "20"]
    program = (CHANGED, "--cache", "get_order,get_customer")
    with running_backends(tmp_path) as env:
        harmed = outcomes_of([of_process(env, out, "--first", first, *share, program=program) for first in ("0", "40")])
    tasks = [o for o in harmed if o["kind"] in ("refund", "address")]
    assert len(tasks) > 40
    failed = [o for o in tasks if o["failed"]]
    assert all("is at version" in o["why"] for o in failed)
    # Two in five fail on an idle machine; the slower the machine, the fewer commands meet a change in time.
    assert len(failed) / len(tasks) > 0.12


def test_a_kept_read_makes_an_answer_wrong(shop, monkeypatch):
    """An answer from an order as it was before somebody changed it is called wrong."""
    command = next(c for n in range(50) for c in customers.conversation(1, n) if c.kind == "policy")
    kept = TOOLS["get_order"](order_id=command.order_id)
    monkeypatch.setitem(TOOLS, "get_order", lambda order_id: kept)
    with database.pool().connection() as connection:
        connection.execute("UPDATE orders SET status = 'lost', version = version + 1 WHERE id = ?", (command.order_id,))
    time.sleep(2 * truth.SLACK_S)
    outcome = workload.run_command(SupportAgent(), command)
    assert not outcome["failed"]
    assert "'lost'" in outcome["why"]


def test_reads_started_together_give_the_same_answers_sooner(plain, shop, backends, tmp_path):
    """The reads one reply asks for may run at once: same answers, right ones, and time saved."""
    arguments = ["--seed", str(SEED), "--first", str(FIRST), "--conversations", str(COUNT)]
    arguments += ["--concurrency", str(COUNT), "--pause", "0"]
    together = outcomes_of([of_process(backends, tmp_path, *arguments, program=(CHANGED, "--parallel"))])
    assert answers(together) == answers(plain)
    assert [o["why"] for o in together if not o["ok"]] == []

    def fastest(outcomes):
        return min(o["seconds"] for o in outcomes if o["command"] == "/task")

    # A quarter on an idle machine.
    assert fastest(together) < 0.97 * fastest(plain)
