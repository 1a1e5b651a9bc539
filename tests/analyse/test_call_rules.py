"""What-ifs of second tries, endpoints, batches and kept replies: what they foretell is what a simulated treatment brings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted import MONDAY_NS, SECOND, PlantedSource, RunWriter

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.execution.model import ToolEffects


def analysed(write, count, *, seed=3, gap_s=3600):
    rng = np.random.default_rng(seed)
    runs = []
    for place in range(count):
        writer = RunWriter("/task", "", MONDAY_NS + place * gap_s * SECOND)
        write(writer, rng, place)
        runs.append(writer.done())
    return analyse(PlantedSource(runs))


def offered(analysis, optimization):
    return [item for item in analysis.opportunities if item.optimization == optimization]


def said(writer, step, **attributes):
    writer.steps[-1] = replace(step, attributes={**step.attributes, **attributes})


def server(rng, slow=0.04):
    """How long the model takes: about a second, and one call in 25 ten times as long for no reason of its own."""
    return rng.lognormal(0, 0.2) * (10 if rng.random() < slow else 1)


def slow_calls(writer, rng, _, slow=0.04):
    for _turn in range(4):
        writer.infer(server(rng, slow), out=100)
        writer.tool("look", 0.5)


def hedged(rng, count):
    """What a treated service would have saved: a twin at the 95th percentile so far, whichever comes first."""
    plain = [server(rng) for _ in range(count)]
    took: list[float] = []
    for duration in plain:
        known = sorted(took[-500:])
        limit = known[int(0.95 * len(known))] if len(known) >= 20 else np.inf
        took.append(min(duration, limit + server(rng)) if duration > limit else duration)
    return (sum(plain) - sum(took)) / (sum(plain) + 0.5 * count)


@pytest.mark.parametrize("seed", range(4))
def test_second_tries_save_what_a_treated_service_saves(seed):
    """The predicted interval holds the saving of a simulated service that does make second tries."""
    (found,) = offered(analysed(slow_calls, 300, seed=seed), "retry_hedge")
    truth = hedged(np.random.default_rng(1000), 40_000)
    assert found.share.low <= truth <= found.share.high
    assert not found.upper_bound
    assert found.share.estimate < found.bound_share


def test_long_answers_are_not_mistaken_for_slow_calls():
    """What takes long because it is long takes as long a second time: nothing to gain."""

    def write(writer, rng, place):
        for turn in range(4):
            length = 3000 if (4 * place + turn) % 25 == 0 else 100
            writer.infer(length / 100 * rng.lognormal(0, 0.02), out=length)

    found = offered(analysed(write, 150), "retry_hedge")
    assert not found or found[0].share.estimate < 0.003


def test_a_model_that_refuses_calls_gets_no_second_tries():
    """Where one call in twenty is refused, more calls are no remedy."""

    def write(writer, rng, place):
        slow_calls(writer, rng, place)
        if place % 5 == 0:
            writer.infer(0.1, error_type="RateLimitError")

    assert not offered(analysed(write, 150), "retry_hedge")


def two_addresses(writer, rng, place, *, far=2.0, failing=0.0):
    for turn in range(4):
        distant = (place + turn) % 2 == 1
        length = int(rng.integers(50, 400))
        seconds = length / 100 * (far if distant else 1.0) * rng.lognormal(0, 0.1)
        failed = not distant and rng.random() < failing
        fields = {"error_type": "APIConnectionError"} if failed else {}
        said(writer, writer.infer(seconds, out=length, **fields), **{c.SERVER_ADDRESS: "far" if distant else "near"})


def test_calls_at_the_slower_of_two_addresses_take_half_as_long():
    """Half of the calls take twice as long as they would elsewhere: a third of the time is saved."""
    (found,) = offered(analysed(two_addresses, 150), "endpoint_balancing")
    # The first 40 calls teach how fast each address is.
    assert found.share.estimate == pytest.approx(1 / 3, abs=0.04)
    assert found.share.low > 0.25
    assert found.bound_share >= found.share.estimate


def test_an_address_that_fails_more_often_is_not_preferred_for_its_speed():
    """The faster one fails one call in five: nothing is offered."""

    def write(writer, rng, place):
        two_addresses(writer, rng, place, failing=0.2)

    assert not offered(analysed(write, 150), "endpoint_balancing")


def test_equally_fast_addresses_are_no_opportunity():
    """Without a difference the interval holds nothing."""

    def write(writer, rng, place):
        two_addresses(writer, rng, place, far=1.0)

    found = offered(analysed(write, 150), "endpoint_balancing")
    assert not found or abs(found[0].share.estimate) < 0.02


def test_calls_of_one_tool_in_one_reply_go_as_one():
    """Of five reads of a second each four are saved at best, unless a write stands between them."""

    def write(writer, *_, effects=ToolEffects.READ):
        writer.infer(1.0)
        for number in range(5):
            writer.tool("get_item", 1.0, call_id=f"c{number}")
            if effects is ToolEffects.WRITE:
                writer.tool("put", 1.0, effects=effects, call_id=f"w{number}")

    (found,) = offered(analysed(write, 30), "batch_tools")
    assert found.upper_bound
    assert found.target.tool == "get_item"
    assert found.share.estimate == pytest.approx(4 / 6)
    assert found.bound_share == pytest.approx(5 / 6)
    separated = analysed(lambda *given: write(*given, effects=ToolEffects.WRITE), 30)
    assert not offered(separated, "batch_tools")


def kept_replies(writer, rng, place, ending="stop"):
    """A question is asked, then asked again; the replies to the second end as `ending` says."""
    for again in range(2):
        step = writer.infer(2.0)
        reasons = ("stop",) if not again else (ending,)
        said(writer, step, **{c.REQUEST_DIGEST: f"q{place}", c.GEN_AI_RESPONSE_FINISH_REASONS: reasons})


def test_what_the_hits_need_is_in_the_suggestion():
    """Requests at another temperature than 0 hit only where the policy allows any."""
    analysis = analysed(kept_replies, 30)
    (found,) = offered(analysis, "response_cache")
    assert found.share.estimate == pytest.approx(0.5)
    (suggestion,) = [
        finding.suggestion
        for finding in analysis.findings
        if finding.suggestion is not None and finding.suggestion.optimization == "response_cache"
    ]
    assert suggestion.parameters == {"ttl": "5m", "anyTemperature": True}


def test_replies_that_end_otherwise_are_not_kept():
    """The same question that gets another kind of answer each time is left alone."""

    def write(writer, rng, place):
        kept_replies(writer, rng, place, "length" if place % 2 else "stop")

    assert not offered(analysed(write, 30), "response_cache")


def test_replies_of_which_nothing_is_known_are_not_counted_as_equal():
    """The same question is asked twice and no reply says how it ended: whether it is the same one is not known."""

    def write(writer, _, place):
        for _again in range(2):
            said(writer, writer.infer(2.0), **{c.REQUEST_DIGEST: f"q{place}"})

    assert not offered(analysed(write, 30), "response_cache")


def test_after_a_reply_with_new_ids_no_later_request_of_the_run_is_known():
    """The second run asks first something new, then what the first run asked second: its ids are others."""

    def write(writer, _, place):
        for turn, digest in enumerate((f"first-{place}", "second")):
            stated = {c.REQUEST_DIGEST: digest, c.GEN_AI_RESPONSE_FINISH_REASONS: ("stop",)}
            said(writer, writer.infer(1.0), **stated)
            if turn == 0:
                writer.tool("look", 1.0)

    assert not offered(analysed(write, 30, gap_s=60), "response_cache")


def test_tools_that_nobody_uses_are_named_and_counted_each():
    """After twenty runs the 700 tokens of the one tool that nobody used are saved, and the suggestion names it."""

    def write(writer, *_):
        step = writer.infer(1.0, sent=2000)
        described = ("used=100", "unused=700")
        said(writer, step, **{c.TOOLS_OFFERED: 2, c.TOOLS_OFFERED_TOKENS: 800, c.TOOLS_DESCRIBED: described})
        writer.tool("used", 1.0)

    analysis = analysed(write, 40)
    (found,) = offered(analysis, "selective_context")
    assert found.tokens_per_run.estimate == pytest.approx(700 / 2)
    (suggestion,) = {
        str(finding.suggestion.parameters)
        for finding in analysis.findings
        if finding.suggestion is not None and finding.suggestion.optimization == "selective_context"
    }
    assert suggestion == str({"dropTools": ["unused"]})


def test_commands_that_often_need_another_tool_keep_them_all():
    """One run in five needs a tool that none before it used: nothing is left out."""

    def write(writer, _, place):
        step = writer.infer(1.0, sent=2000)
        said(writer, step, **{c.TOOLS_OFFERED: 50, c.TOOLS_OFFERED_TOKENS: 1000})
        writer.tool(f"tool-{place // 5}", 1.0)

    assert not offered(analysed(write, 60), "selective_context")


def test_a_result_that_would_be_shorter_as_a_table_is_sent_as_one():
    """1,000 tokens that a table says in 400 are sent with two later calls: 1,200 of 6,000 are saved."""

    def write(writer, _, place):
        writer.infer(1.0, sent=2000)
        stated = {c.RESULT_TOKENS: 1000, c.RESULT_SHORTER_TOKENS: 400}
        writer.tool("rows", 1.0, result=f"r{place}", attributes=stated)
        writer.infer(1.0, sent=2000)
        writer.infer(1.0, sent=2000)

    (found,) = offered(analysed(write, 30), "context_compression")
    assert found.share.estimate == pytest.approx(1200 / 6000)
