"""What calls cost."""

from __future__ import annotations

import json

import pytest
from written_runs import inference, read, run

from otel_perfopt.errors import InvalidFileError
from otel_perfopt.execution.model import Target, TokenUsage
from otel_perfopt.measure.price import PriceBand, PriceTable, priced

TABLE = PriceTable(
    {
        "model-a": (PriceBand(2.0, 10.0, 0.2, 2.5, 1000), PriceBand(4.0, 20.0, 0.4, 5.0)),
        "model-b": (PriceBand(1.0, 5.0, up_to_input_tokens=1000),),
    }
)


def test_cached_tokens_are_part_of_the_input():
    """Fresh, read and written input each have their price, and add up to the input."""
    tokens = TokenUsage(input=1000, output=100, cache_read=600, cache_write=300)
    assert TABLE.cost_usd("model-a", tokens) == pytest.approx((100 * 2 + 600 * 0.2 + 300 * 2.5 + 100 * 10) / 1e6)


def test_long_prompts_are_priced_whole_by_their_band():
    """One token above the limit prices the whole call by the next band; beyond the last it is unknown."""
    assert TABLE.cost_usd("model-a", TokenUsage(1001, 0)) == pytest.approx(1001 * 4 / 1e6)
    assert TABLE.cost_usd("model-b", TokenUsage(1001, 0)) is None


def test_what_is_unknown_has_no_price():
    """An unknown model, usage or cache price gives None, not zero."""
    assert TABLE.cost_usd("model-z", TokenUsage(1, 1)) is None
    assert TABLE.cost_usd("model-a-pro", TokenUsage(1, 1)) is None
    assert TABLE.cost_usd("model-a", TokenUsage(output=5)) is None
    assert TABLE.cost_usd("model-a", TokenUsage(input=5)) is None
    assert TABLE.cost_usd("model-b", TokenUsage(10, 1, cache_read=5)) is None
    assert TABLE.cost_usd("model-b", TokenUsage(10, 1, cache_write=5)) == pytest.approx(15 / 1e6)


@pytest.mark.parametrize(
    ("name", "known_as"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-opus-4-6[1m]", "claude-opus-4-6"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/GPT-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
    ],
)
def test_dated_and_wrapped_names_are_recognised(name, known_as):
    """Dates, versions and a gateway's prefix do not hide a model."""
    table = PriceTable.shipped()
    assert table.band(name, 1) == table.models[known_as][0]


def test_no_model_takes_a_relatives_price():
    """A name that only begins like a known one is unknown."""
    table = PriceTable.shipped()
    assert all(table.band(name, 1) is None for name in ("gpt-5.5-pro", "claude-opus-9", "gpt-4o-audio", "", "gpt"))


def test_the_shipped_table_is_dated_and_complete():
    """Every model has bands in ascending order, and reading the cache never costs more than sending anew."""
    table = PriceTable.shipped()
    assert table.as_of
    for bands in table.models.values():
        limits = [band.up_to_input_tokens for band in bands]
        assert limits == sorted(set(limits))
        assert all(band.cache_read is None or band.cache_read <= band.input for band in bands)
        assert all(band.output >= band.input or band.output == 0 for band in bands)


def test_only_calls_without_a_cost_of_their_own_are_priced():
    """A stated cost stands, and what is below a step that states its cost is part of it."""
    tokens = TokenUsage(100, 10)
    model = Target(command="/do", model="model-a")
    recorded = run(
        0, 99, inference("m", 0, 1, tokens=tokens, target=model),
        inference("n", 2, 3, tokens=tokens, target=model, cost_usd=0.5), read("t", 4, 9, cost_usd=0.25),
        inference("o", 5, 6, tokens=tokens, target=model, parent="t"),
        inference("p", 7, 8, tokens=tokens, name="model-z"),
    )  # fmt: skip
    costs = {step.span_id: step.cost_usd for step in priced(recorded, TABLE).steps}
    assert costs == {"m": pytest.approx(300 / 1e6), "n": 0.5, "t": 0.25, "o": None, "p": None}


def test_a_table_of_ones_own_is_read(tmp_path):
    """A single band needs no list, and names are compared without case."""
    path = tmp_path / "prices.json"
    path.write_text(json.dumps({"as_of": "2026-01-01", "models": {"Mine": {"input": 1, "output": 2}}}))
    table = PriceTable.load(path)
    assert (table.as_of, table.cost_usd("mine", TokenUsage(1, 1))) == ("2026-01-01", 3 / 1e6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "models"),
        ('{"models": {"a": {"input": 1}}}', "models.a[0]"),
        ('{"models": {"a": [{"input": 1, "output": 1}, {"input": -1, "output": 1}]}}', "models.a[1].input"),
        ('{"models": {"a": {"input": 1, "output": true}, "b": 3}}', "models.b[0]"),
        ('{"models": {"a": {"input": 1, "output": 1, "extra": 1}}}', "models.a[0]"),
    ],
)
def test_a_wrong_table_is_refused_with_every_problem(tmp_path, text, says):
    """The message names the file and the field."""
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(InvalidFileError) as caught:
        PriceTable.load(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
