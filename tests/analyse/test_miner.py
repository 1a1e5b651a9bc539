"""The miner of calls and the next-command model foresee what recurs, and nothing else."""

from __future__ import annotations

import gzip
import json
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otel_perfopt.analyse.call_miner import CallMiner, MinedCall
from otel_perfopt.analyse.next_command import NextCommand, predict_from
from otel_perfopt.analyse.opening_miner import OpeningMiner
from otel_perfopt.signal.leaf_paths import MAX_LEAVES, leaf_attribute, leaves_of
from otel_perfopt.signal.tool_effects import READ, verb_effects


def call(tool, arguments, result, reply, *, reads=True):
    return MinedCall(tool, leaves_of(arguments), leaves_of(result), reply, reads)


def test_a_rule_names_the_tool_and_where_each_argument_comes_from():
    """The order's customer is looked up by the id in the order, in the region that the order was asked for."""
    miner = CallMiner()
    for place in range(40):
        order = call("get_order", {"id": place, "region": f"r{place}"}, {"customer": {"id": f"C{place}"}}, "1")
        miner.observe([order, call("get_customer", {"id": f"C{place}", "region": f"r{place}"}, {}, "2")])
    (rule,) = miner.rules()
    assert (rule.after, rule.call) == ("get_order", "get_customer")
    assert rule.arguments == {
        "id": ("get_order", "result", "customer.id"),
        "region": ("get_order", "arguments", "region"),
    }
    assert rule.precision == 1.0
    assert rule.precision_low > 0.9
    assert json.loads(json.dumps(miner.table()))["rules"][0]["arguments"]["id"] == {
        "of": "get_order",
        "from": "result",
        "path": "customer.id",
    }


def test_what_was_guessed_is_judged_before_it_is_learnt():
    """The first run of a rule is no success of it: support is one less than the runs, and no guess comes too early."""
    miner, guesses = CallMiner(), []
    for place in range(30):
        guesses += miner.observe(
            [call("list", {"q": place}, [f"x{place}"], "1"), call("get", {"id": f"x{place}"}, {}, "2")]
        )
    (rule,) = miner.rules()
    assert rule.support == 29
    assert len(guesses) < 29
    assert all(guess.hit == 1 for guess in guesses)


def test_no_call_is_foreseen_across_a_write_or_within_one_reply():
    """What comes after a write, or was asked for together with its source, is nothing to prepare."""
    for between, reply in ((True, "2"), (False, "1")):
        miner = CallMiner()
        for place in range(40):
            calls = [call("list", {"q": place}, [f"x{place}"], "1")]
            calls += [call("save", {"n": place}, {}, "1b", reads=False)] if between else []
            miner.observe([*calls, call("get", {"id": f"x{place}"}, {}, reply)])
        # After the write has ended the read may be made: that is another rule.
        assert [rule for rule in miner.rules() if rule.after == "list"] == []


def test_a_write_is_never_foreseen():
    """However regular: what may write is not made early."""
    miner = CallMiner()
    for place in range(40):
        miner.observe(
            [call("get", {"id": place}, {"v": f"v{place}"}, "1"), call("set", {"v": f"v{place}"}, {}, "2", reads=False)]
        )
    assert miner.rules() == ()


def test_chance_makes_no_rule():
    """Ids drawn from a hundred at random: no path of a result foretells the next argument."""
    rng, miner = random.Random(4), CallMiner()
    for place in range(200):
        miner.observe(
            [
                call("list", {"q": place}, [f"x{rng.randrange(100)}" for _ in range(3)], "1"),
                call("get", {"id": f"x{rng.randrange(100)}"}, {}, "2"),
            ]
        )
    assert miner.rules() == ()


def test_real_trajectories_teach_precise_rules(shared_data):
    """On the first half of tau-bench the miner learns; what its rules guess in the second half is mostly asked for."""
    runs = json.loads(gzip.decompress((shared_data / "tau-bench" / "gpt-4o-airline.json.gz").read_bytes()))
    miner = CallMiner()
    guesses = [guess for place, run in enumerate(runs) for guess in miner.observe(calls_of(run["traj"])) if place >= 50]
    assert all(rule.precision_low >= 0.5 for rule in miner.rules())
    if guesses:
        assert sum(guess.hit is not None for guess in guesses) >= 0.4 * len(guesses)


def calls_of(messages):
    """A trajectory's calls with the leaves of their arguments and results."""
    results = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    return [
        call(
            asked["function"]["name"],
            json.loads(asked["function"]["arguments"]),
            results.get(asked["id"], ""),
            str(place),
            reads=verb_effects(asked["function"]["name"]) == READ,
        )
        for place, message in enumerate(messages)
        for asked in message.get("tool_calls") or ()
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
)


# A busy machine draws slowly; that is no fault of what is tested.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON)
def test_leaves_of_anything_are_few_and_the_same_as_text(value):
    """At most 64, whatever comes; JSON as text gives what the structure gives; the attribute reads back."""
    leaves = leaves_of(value)
    assert len(leaves) <= MAX_LEAVES
    if isinstance(value, list | dict):
        assert leaves_of(json.dumps(value)) == leaves
    assert {item.rpartition("=")[0]: item.rpartition("=")[2] for item in leaf_attribute(leaves)} == leaves


def test_the_next_command_comes_with_its_probability():
    """After /find, /open follows in nine cases of ten; a longer context that is known decides."""
    model = NextCommand()
    for place in range(100):
        model.learn_all(["/find", "/open" if place % 10 else "/ask", "/edit" if place % 10 else "/find"])
    (first, probability), *_ = model.predict(["/find"])
    assert first == "/open"
    assert 0.8 < probability < 0.9
    assert model.predict(["/find", "/ask"])[0][0] == "/find"
    assert model.predict(["/never seen"])[0][0] in {"/find", "/open", "/edit"}


def test_the_table_says_what_the_model_says():
    """Written as JSON and read again, likely successions are guessed alike; unlikely ones are left out."""
    model = NextCommand()
    for place in range(100):
        model.learn_all(["/find", "/open" if place % 10 else "/ask", "/edit"])
    table = json.loads(json.dumps(model.table(0.3)))
    (command, probability), *others = predict_from(table, ["/start", "/find"])
    assert command == "/open"
    assert abs(probability - dict(model.predict(["/find"]))["/open"]) < 1e-4
    assert not others
    assert predict_from({}, ["/find"]) == []


@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=8), max_size=8), st.lists(st.sampled_from("abcd"), max_size=4)
)
def test_probabilities_are_probabilities(conversations, before):
    """None is negative and they add up to less than one: something is kept for what was never seen."""
    model = NextCommand()
    for conversation in conversations:
        model.learn_all(conversation)
    guesses = model.predict(before, most=10)
    assert all(0 < probability < 1 for _, probability in guesses)
    assert sum(probability for _, probability in guesses) < 1


def conversation(miner, number, *runs, at_s=0):
    """Let a conversation go through runs: (command, calls); returns the guesses."""
    return [
        guess
        for place, (command, calls) in enumerate(runs)
        for guess in miner.observe(f"c{number}", command, calls, ended_ns=int((at_s + place) * 1e9))
    ]


def query_and_task(number):
    query = ("/query", [call("get_customer", {"customer_id": f"C{number}"}, {"tier": "gold"}, "1")])
    return query, ("/task", [call("list_orders", {"customer_id": f"C{number}"}, {}, "1")])


def test_the_next_commands_first_reads_are_foreseen():
    """/task reads the orders of the customer that /query looked up: a rule across the two says so."""
    miner = OpeningMiner()
    guesses = [guess for number in range(30) for guess in conversation(miner, number, *query_and_task(number))]
    (rule,) = miner.rules("/task")
    assert (rule.after_command, rule.command, rule.call) == ("/query", "/task", "list_orders")
    assert rule.arguments == {"customer_id": ("get_customer", "arguments", "customer_id")}
    assert (rule.precision, rule.support) == (1.0, 29)
    assert guesses
    assert all(guess.hit == 0 for guess in guesses)
    assert miner.rules("/query") == ()


def test_a_command_that_seldom_follows_makes_no_rule():
    """Where three of four conversations go on with something else, or end, the reads of /task are not foreseen."""
    for rest in ("goes on", "ends"):
        miner = OpeningMiner()
        for number in range(80):
            query, task = query_and_task(number)
            follows = [task] if number % 4 == 0 else [("/other", [])] if rest == "goes on" else []
            conversation(miner, number, query, *follows, at_s=number * 400)
        assert miner.rules() == ()


def test_reads_after_a_write_are_not_opening_reads():
    """What the next command reads after having written cannot be read before it."""
    miner = OpeningMiner()
    for number in range(40):
        query, (command, reads) = query_and_task(number)
        conversation(miner, number, query, (command, [call("save", {"n": number}, {}, "1", reads=False), *reads]))
    assert miner.rules() == ()


def test_a_read_without_arguments_can_be_foreseen():
    """A tool that takes no arguments needs no source for them."""
    miner = CallMiner()
    for place in range(40):
        miner.observe([call("login", {"user": f"u{place}"}, {}, "1"), call("news", {}, {"text": "x"}, "2")])
    (rule,) = miner.rules()
    assert (rule.call, rule.arguments) == ("news", {})
