"""What-if rules save just what was planted to be saved, and the total counts nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from planted import MONDAY_NS, SECOND, PlantedSource, RunWriter

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.context_rules import ContextCompressionRule
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.execution.model import StepKind, TokenUsage
from otel_perfopt.signal.leaf_paths import leaf_attribute, leaves_of


def analysed(write, count=40, *, gap_s=3600, conversations=0):
    rng = np.random.default_rng(3)
    runs = []
    for place in range(count):
        conversation = f"c{place % conversations}" if conversations else ""
        writer = RunWriter("/task", conversation, MONDAY_NS + place * gap_s * SECOND)
        write(writer, rng, place)
        runs.append(writer.done())
    return analyse(PlantedSource(runs))


def opportunity(analysis, optimization):
    (found,) = [item for item in analysis.opportunities if item.optimization == optimization]
    return found


def test_equal_requests_are_answered_from_a_response_cache():
    """Each run asks the model the same twice within five minutes: half of the model's time, and no more, is saved."""

    def write(writer, rng, place):
        for _again in range(2):
            step = writer.infer(1.0)
            writer.steps[-1] = _with(step, {c.REQUEST_DIGEST: f"request-{place}"})
            writer.tool("look", 1.0)

    found = opportunity(analysed(write), "response_cache")
    assert found.share.estimate == pytest.approx(0.25)
    assert not found.upper_bound


def _with(step, attributes, **fields):
    from dataclasses import replace  # noqa: PLC0415 - only here

    return replace(step, attributes={**step.attributes, **attributes}, **fields)


def test_equal_requests_an_hour_apart_are_not():
    """After the time to live the same question is asked again."""

    def write(writer, *_):
        step = writer.infer(1.0)
        stated = {c.REQUEST_DIGEST: "same", c.GEN_AI_RESPONSE_FINISH_REASONS: ("stop",)}
        writer.steps[-1] = _with(step, stated)

    assert not [item for item in analysed(write).opportunities if item.optimization == "response_cache"]


def test_a_result_that_is_in_the_context_already_enters_it_as_a_reference():
    """A result of 1,000 tokens comes twice; the one call after it sends it in vain: 1,000 of 5,000 input tokens."""

    def write(writer, _, place):
        writer.infer(1.0, sent=1000)
        for _again in range(2):
            writer.tool("read", 1.0, result=f"r{place}", attributes={c.RESULT_TOKENS: 1000})
            writer.infer(1.0, sent=2000)

    found = opportunity(analysed(write), "context_compression")
    assert found.metric == "input_tokens"
    assert found.share.estimate == pytest.approx(1000 / 5000)
    assert found.tokens_per_run.estimate == pytest.approx(1000)
    assert found.seconds_per_run is None


def test_after_a_compaction_nothing_more_is_saved():
    """Once the context was cut, what had been in it is sent no more."""

    def write(writer, *_):
        writer.infer(1.0, sent=1000)
        writer.tool("read", 1.0, attributes={c.RESULT_TOKENS: 10_000, c.RESULT_SHORTER_TOKENS: 4000})
        writer.infer(1.0, sent=11_000)
        writer.infer(1.0, sent=2000)
        writer.infer(1.0, sent=2000)

    found = opportunity(analysed(write), "context_compression")
    assert found.tokens_per_run.estimate == pytest.approx(6000)


def test_a_long_result_of_which_no_shorter_form_is_stated_saves_nothing():
    """Nobody is proposed to cut results, so nothing is foretold of a cut; only the bound is known."""

    def write(writer, *_):
        writer.infer(1.0, sent=1000)
        writer.tool("read", 1.0, attributes={c.RESULT_TOKENS: 10_000})
        writer.infer(1.0, sent=11_000)

    writer = RunWriter()
    write(writer)
    rule = ContextCompressionRule()
    (found,) = rule.imagine(RunView(writer.done()))
    assert not sum(found.tokens.values())
    assert found.bound_tokens == 10_000
    assert rule.parameters(found.target) == {}


def test_tools_that_no_run_uses_are_left_out():
    """Of ten tools described in 1,000 tokens two are used: after twenty runs 800 of 2,000 tokens a call are saved."""

    def write(writer, _, place):
        step = writer.infer(1.0, sent=2000)
        writer.steps[-1] = _with(step, {c.TOOLS_OFFERED: 10, c.TOOLS_OFFERED_TOKENS: 1000})
        writer.tool("one" if place % 2 else "two", 1.0)

    found = opportunity(analysed(write, 40), "selective_context")
    assert found.runs_helped == 20
    assert found.share.estimate == pytest.approx(0.4 * 20 / 40)
    assert found.bound_share == pytest.approx(0.45)


def test_what_is_sent_again_and_not_cached_is_counted_at_nine_tenths():
    """The second of two calls sends 4,000 tokens again and reads none of them: 3,600 of 8,500 are saved."""

    def write(writer, *_):
        writer.infer(1.0, sent=4000, read=0)
        writer.infer(1.0, sent=4500, read=0)

    assert opportunity(analysed(write), "prompt_cache").share.estimate == pytest.approx(3600 / 8500)


def test_repeated_instructions_are_said_once():
    """Where the recorder measured that 100 of 1,000 tokens are said twice, a tidy prompt saves them."""

    def write(writer, *_):
        step = writer.infer(1.0, sent=1000)
        writer.steps[-1] = _with(step, {c.REPEATED_PROMPT_TOKENS: 100})

    assert opportunity(analysed(write), "prompt_tidy").share.estimate == pytest.approx(0.1)


def test_thinking_is_a_bound_only():
    """Four of ten seconds are thought: less effort saves that at the most, and it is said to be a bound."""

    def write(writer, *_):
        writer.think(4.0)
        writer.infer(6.0)

    found = opportunity(analysed(write), "effort_routing")
    assert found.upper_bound
    assert found.share.estimate == pytest.approx(0.4)


def test_a_faster_model_is_a_bound_only():
    """Half of the runs use a model that writes a hundred tokens a second, half one that writes fifty."""

    def write(writer, _, place):
        writer.model = ("fast", "slow")[place % 2]
        writer.infer(1.0 if place % 2 == 0 else 2.0, sent=100, out=100)

    found = opportunity(analysed(write, 80), "model_routing")
    assert found.upper_bound
    assert found.target.model == "slow"
    # The first twenty calls of each model teach its speed.
    assert found.share.estimate == pytest.approx(20 * 1.0 / 120, rel=0.06)


def test_refusals_and_the_pause_behind_them_are_a_bound():
    """Each run is refused once and pauses for three seconds: 3.5 of 5.5 seconds."""

    def write(writer, *_):
        writer.infer(0.5, error_type="429")
        writer.now_ns += 3 * SECOND
        writer.infer(2.0)

    found = opportunity(analysed(write), "adaptive_concurrency")
    assert found.upper_bound
    assert found.share.estimate == pytest.approx(3.5 / 5.5)


def test_modules_loaded_in_runs_are_warmed_up():
    """A module that takes one of three seconds to load is ready before."""

    def write(writer, *_):
        step = writer._step(StepKind.MODULE_LOAD, "heavy", 1.0)
        writer.now_ns = step.end_ns
        writer.infer(2.0)

    found = analysed(write)
    assert opportunity(found, "warm_up").share.estimate == pytest.approx(1 / 3)
    assert opportunity(found, "lazy_import").upper_bound


def test_the_first_call_after_a_silence_is_found_to_be_cold():
    """The first of five calls takes three seconds, the others one: two of seven are saved once that is known."""

    def write(writer, rng, _):
        for call in range(5):
            writer.tool("remote", (3.0 if call == 0 else 1.0) * rng.lognormal(0, 0.1))

    found = opportunity(analysed(write, 60), "warm_up")
    assert found.share.estimate == pytest.approx(2 / 7, abs=0.05)


def test_silence_that_costs_nothing_is_no_opportunity():
    """Calls after a silence take as long as others: nothing is offered."""

    def write(writer, rng, _):
        for _call in range(5):
            writer.tool("remote", rng.lognormal(0, 0.3))

    assert not [item for item in analysed(write, 60).opportunities if item.optimization == "warm_up"]


def mined_run(writer, rng, place, *, follows=0.9):
    """A customer is looked up, and nine times in ten their first order after that."""
    orders = [f"O-{place}-{number}" for number in range(3)]
    for name, arguments, result in (
        ("get_customer", {"id": f"C-{place}"}, {"orders": orders}),
        (
            "get_order",
            {"order": orders[0 if rng.random() < follows else int(rng.integers(1, 3))]},
            {"total": 5 + place},
        ),
    ):
        writer.infer(2.0)
        leaves = {
            c.ARGUMENT_LEAVES: leaf_attribute(leaves_of(arguments)),
            c.RESULT_LEAVES: leaf_attribute(leaves_of(result)),
        }
        writer.tool(name, 1.0, attributes=leaves)


def test_a_call_whose_arguments_are_foreseen_is_preloaded():
    """The order is fetched while the model thinks: a second of six, in most runs after the first dozen."""
    found = analysed(mined_run, 80)
    (item,) = [item for item in found.opportunities if item.optimization == "preload" and not item.upper_bound]
    assert 0.08 < item.share.estimate < 1 / 6
    (finding,) = [
        finding
        for finding in found.findings
        if finding.kind == "opportunity" and finding.suggestion.optimization == "preload"
    ]
    (rule,) = finding.suggestion.parameters["rules"]
    assert (rule["after"], rule["call"]) == ("get_customer", "get_order")
    assert rule["arguments"] == {"order": {"of": "get_customer", "from": "result", "path": "orders[0]"}}
    assert 0.75 < rule["precision"] <= 1


def test_calls_that_cannot_be_foreseen_are_not_preloaded():
    """Where the first order is asked for in one case of three, making the call early wastes more than it saves."""
    found = analysed(lambda writer, rng, place: mined_run(writer, rng, place, follows=0.33), 80)
    assert not [item for item in found.opportunities if item.optimization == "preload" and not item.upper_bound]


def test_savings_together_count_nothing_twice():
    """Three reads of one reply, one of them a repeat: parallel calls save only what the cache leaves."""

    def write(writer, *_):
        writer.infer(1.0)
        writer.tool("a", 1.0, arguments="same", call_id="x")
        writer.infer(1.0)
        for name in ("a", "b", "d"):
            writer.tool(name, 1.0, arguments="same", call_id=name)

    found = analysed(write, 20)
    alone = {item.optimization: item.share.estimate for item in found.opportunities if not item.upper_bound}
    (together,) = [item for item in found.combined if item.metric == "latency"]
    assert alone == {"tool_cache": pytest.approx(1 / 6), "parallel_tools": pytest.approx(2 / 6)}
    assert [part.optimization for part in together.parts] == ["tool_cache", "parallel_tools"]
    # The repeat is cached (1 s); of the two reads that are left one hides behind the other (1 s).
    assert together.share.estimate == pytest.approx(2 / 6)
    assert sum(part.share.estimate for part in together.parts) == pytest.approx(together.share.estimate)


def test_tokens_left_out_are_not_cached_as_well():
    """What compression leaves out of a call is not there to be read from a prompt cache."""

    def write(writer, *_):
        writer.infer(1.0, sent=4000, read=0)
        writer.tool("read", 1.0, attributes={c.RESULT_TOKENS: 10_000, c.RESULT_SHORTER_TOKENS: 4000})
        writer.infer(1.0, sent=14_000, read=0)
        writer.infer(1.0, sent=14_100, read=0)

    (together,) = [item for item in analysed(write).combined if item.metric == "input_tokens"]
    assert together.share.estimate <= 1
    assert sum(part.share.estimate for part in together.parts) == pytest.approx(together.share.estimate)
    compression, cache = together.parts
    assert compression.share.estimate == pytest.approx(12_000 / 32_100)
    assert cache.share.estimate <= (32_100 - 12_000 - 4000) / 32_100


def test_usage_in_a_tool_is_not_the_runs_own_context():
    """A model call inside a tool has a context of its own: nothing of the run's is left out there."""

    def write(writer, *_):
        writer.infer(1.0, sent=1000)
        tool = writer.tool("agent", 2.0, attributes={c.RESULT_TOKENS: 10_000})
        inner = writer._step(StepKind.INFERENCE, "m-large", 1.0, start_ns=tool.start_ns, tokens=TokenUsage(input=9000))
        writer.steps[-1] = _with(inner, {}, parent_span_id=tool.span_id)

    assert not [item for item in analysed(write).opportunities if item.optimization == "context_compression"]
