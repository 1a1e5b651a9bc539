"""Repeated calls, re-read resources and retries."""

from __future__ import annotations

import pytest
from written_runs import read, run, step, write

from otel_perfopt.execution import repetition as module
from otel_perfopt.execution.effect_order import may_meet
from otel_perfopt.execution.repetition import Repetitions, repetition


def ask(span_id, at, digest="d", **fields):
    return read(span_id, at, at + 1, arguments_digest=digest, **fields)


def pairs(found):
    return [(r.step.span_id, r.earlier.span_id, r.safe) for r in found.repeats]


def test_equal_reads_repeat_and_writes_in_between_make_them_unsafe():
    """A repeat is safe until something that may touch what it reads was written."""
    found = repetition(
        run(0, 99, ask("a", 1), ask("b", 3), write("w", 5, 6), ask("d", 7), ask("e", 9), ask("f", 11, "other"))
    )
    assert pairs(found) == [("b", "a", True), ("d", "b", False), ("e", "d", True)]
    assert (found.calls, found.read_calls) == (6, 5)


def test_a_write_elsewhere_leaves_a_repeat_safe():
    """Only a write of the same or an unknown resource counts."""
    calls = [ask("a", 1, resource="/src/a.py"), ask("b", 5, resource="/src/a.py")]
    elsewhere = write("w", 3, 4, resource="/src/b.py")
    assert pairs(repetition(run(0, 99, *calls, elsewhere)))[0][2]
    assert not pairs(repetition(run(0, 99, *calls, write("w", 3, 4, resource="a.py"))))[0][2]
    assert not pairs(repetition(run(0, 99, *calls, step("u", 3, 4, resource="/src/b.py"))))[0][2]


def test_writes_failures_and_unknown_arguments_do_not_repeat():
    """A failed call gave no answer to reuse, a write is never a repeat, and no digest claims nothing."""
    assert not pairs(repetition(run(0, 99, ask("a", 1, error_type="E"), ask("b", 3))))
    assert not pairs(
        repetition(run(0, 99, write("a", 1, 2, arguments_digest="d"), write("b", 3, 4, arguments_digest="d")))
    )
    assert not pairs(repetition(run(0, 99, ask("a", 1, ""), ask("b", 3, ""))))


def test_results_are_compared_where_both_are_known():
    """Equal, different, and unknown results are told apart."""
    results = [("r1", "r1", True), ("r1", "r2", False), ("r1", "", None)]
    for first, second, same in results:
        found = repetition(run(0, 99, ask("a", 1, result_digest=first), ask("b", 3, result_digest=second)))
        assert found.repeats[0].same_result is same


def test_rereads_are_of_one_resource_with_any_arguments():
    """Another part of the same file is a re-read and no repeat."""
    found = repetition(
        run(0, 99, ask("a", 1, "1", resource="f"), ask("b", 3, "2", resource="f"), write("w", 4, 5, resource="f"),
            ask("d", 6, "3", resource="f"), ask("e", 8, "4", resource="g"), ask("k", 9, "5"))
    )  # fmt: skip
    assert [(r.step.span_id, r.earlier.span_id, r.written_between) for r in found.rereads] == [
        ("b", "a", False), ("d", "b", True),
    ]  # fmt: skip
    assert not found.repeats
    assert found.resource_reads == 4


def test_the_next_call_after_a_failure_is_a_retry():
    """Retries are told apart by whether the arguments changed; other tools' calls do not count."""
    found = repetition(
        run(0, 99, ask("a", 1, "1", error_type="E"), ask("x", 3, "1", name="other"), ask("b", 5, "1", error_type="E"),
            ask("d", 7, "2"), ask("e", 9, "2"))
    )  # fmt: skip
    assert [(r.step.span_id, r.failed.span_id, r.same_arguments) for r in found.retries] == [
        ("b", "a", True), ("d", "b", False),
    ]  # fmt: skip


def test_conversations_remember_across_runs_and_not_across_each_other():
    """A later run of the same conversation repeats an earlier one's call; another conversation's does not."""
    seen = Repetitions()
    assert not seen.observe(run(0, 9, ask("a", 1), conversation_id="one")).repeats
    assert not seen.observe(run(0, 9, ask("b", 1), conversation_id="two")).repeats
    assert pairs(seen.observe(run(10, 19, ask("d", 11), conversation_id="one"))) == [("d", "a", True)]


def test_memory_is_bounded(monkeypatch):
    """Old conversations, calls and written resources are forgotten, the last on the side of caution."""
    seen = Repetitions(max_conversations=2)
    for name in ("one", "two", "three"):
        seen.observe(run(0, 9, ask("a", 1), conversation_id=name))
    assert not seen.observe(run(0, 9, ask("b", 1), conversation_id="one")).repeats
    monkeypatch.setattr(module, "MAX_CALLS", 2)
    assert not repetition(run(0, 99, *(ask(f"a{i}", i, str(i % 3)) for i in range(9)))).repeats
    monkeypatch.setattr(module, "MAX_WRITTEN", 1)
    writes = [write(f"w{i}", 10 + i, 11 + i, resource=f"other{i}") for i in range(3)]
    assert pairs(repetition(run(0, 99, ask("a", 1, resource="f"), *writes, ask("b", 20, resource="f")))) == [
        ("b", "a", False)
    ]


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ("", "x", True), ("/a/b.py", "/a/b.py", True), ("/a/b.py", "/a/c.py", False), ("/a", "/a/b.py", True),
        ("b.py", "/a/b.py", True), ("/a/bb.py", "b.py", False), (".", "/a/b.py", True), ("../x", "/y", True),
        ("order_id=1", "order_id=2", False), ("order_id=1", "user_id=1", True), ("order_id=1", "/a/b.py", True),
        ("https://h/a?x=1", "https://h/b", False),
    ],
)  # fmt: skip
def test_resources_are_apart_only_when_sure(first, second, meet):
    """Two names may be one thing unless both are paths, or rows of one kind, that differ."""
    assert may_meet(first, second) is meet
    assert may_meet(second, first) is meet
