"""Failed reads: whether trying them again at once would have helped, and what a simulated treatment brings."""

from __future__ import annotations

import numpy as np
import pytest
from planted import MONDAY_NS, SECOND, PlantedSource, RunWriter

from otel_perfopt import conventions as c
from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.failed_reads import passing
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.execution.model import Outcome, Step, StepKind, Target, ToolEffects


def analysed(write, count, *, seed=3):
    rng = np.random.default_rng(seed)
    runs = []
    for place in range(count):
        writer = RunWriter("/task", "", MONDAY_NS + place * 3600 * SECOND)
        write(writer, rng, place)
        runs.append(writer.done())
    return analyse(PlantedSource(runs))


def errors_of(analysis, tool="flaky"):
    return next((one for one in analysis.findings if one.kind == "errors" and one.target.tool == tool), None)


def opportunity(analysis):
    return [one for one in analysis.opportunities if one.optimization == "retry_hedge" and one.target.tool]


def asked_again(rate=0.3, *, error="httpx.ReadTimeout", effects=ToolEffects.READ, most=2):
    """An agent whose model asks again for a read that failed, up to `most` failures in a row."""

    def write(writer, rng, place):
        for turn in range(4):
            name = f"a{place}-{turn}"
            writer.infer(rng.lognormal(0, 0.2))
            failures = 0
            while failures < most and rng.random() < rate:
                failures += 1
                writer.tool("flaky", 0.5, arguments=name, error_type=error, effects=effects)
                writer.infer(rng.lognormal(0, 0.2))
            writer.tool("flaky", 0.5, arguments=name, effects=effects)

    return write


def treated(rng, count, rate=0.3, most=2):
    """Which share of its time a service saves that makes such reads again itself, after a quarter of a second on average."""
    plain = saved = 0.0
    for _ in range(count):
        plain += rng.lognormal(0, 0.2) + 0.5
        failures = 0
        while failures < most and rng.random() < rate:
            failures += 1
            turn = rng.lognormal(0, 0.2)
            plain += 0.5 + turn
            saved += turn - 0.5 * rng.random()
    return saved / plain


@pytest.mark.parametrize("seed", range(3))
def test_the_saving_is_that_of_a_treated_service(seed):
    """The predicted interval holds what a simulated service saves that makes failed reads again by itself."""
    (found,) = opportunity(analysed(asked_again(), 200, seed=seed))
    truth = treated(np.random.default_rng(100), 40_000)
    assert found.share.low <= truth <= found.share.high
    assert found.share.estimate <= found.bound_share
    assert not found.upper_bound


def test_the_finding_proposes_tries_that_its_policy_can_make():
    """The errors of a read that go away by themselves propose `retry_hedge`, with a budget that suffices and the estimate."""
    found = errors_of(analysed(asked_again(), 100))
    assert found.suggestion is not None
    assert (found.suggestion.optimization, found.suggestion.match) == ("retry_hedge", {"tool": ("flaky",)})
    model = OPTIMIZATION_TYPES["retry_hedge"].model
    parameters = model.model_validate({"type": "retry_hedge", "with": dict(found.suggestion.parameters)}).parameters
    assert 0.25 <= parameters.budget <= 0.5
    assert parameters.transient == ()
    assert "would go well" in found.summary


def mended(analysis):
    finding = errors_of(analysis)
    return None if finding is None else finding.suggestion


def test_writes_and_mistakes_propose_nothing():
    """What may write is never made again, and a mistake stays one however often the model asks."""
    assert mended(analysed(asked_again(effects=ToolEffects.WRITE), 60)) is None
    assert mended(analysed(asked_again(effects=ToolEffects.UNKNOWN), 60)) is None
    for error in ("ValueError", "KeyError", "builtins.PermissionError", "support.errors.NotFoundError", "404"):
        analysis = analysed(asked_again(error=error), 60)
        assert errors_of(analysis) is not None
        assert mended(analysis) is None
        assert not opportunity(analysis)


def test_a_tool_that_stays_down_proposes_nothing():
    """Time-outs that every further try met as well are not mended by more of them."""

    def write(writer, rng, place):
        writer.infer(1.0)
        for _ in range(4):
            writer.tool("flaky", 0.5, arguments=f"a{place}", error_type="TimeoutError")
            writer.infer(1.0)

    analysis = analysed(write, 40)
    assert errors_of(analysis) is not None
    assert mended(analysis) is None
    assert not opportunity(analysis)


def test_commands_that_failed_on_one_read_propose_it_too():
    """Where nobody asks again and the command fails, the tool's other calls tell how a second one would fare."""

    def write(writer, rng, place):
        writer.infer(1.0)
        failed = place % 5 == 0
        writer.tool("flaky", 0.5, arguments=f"a{place}", error_type="ConnectTimeout" if failed else None)
        if failed:
            writer.outcome = Outcome.FAILED
        else:
            writer.infer(1.0)

    found = errors_of(analysed(write, 100))
    assert found.suggestion is not None
    assert "20 commands failed on one" in found.summary
    assert found.suggestion.parameters == {"budget": "25%"}


def test_a_tools_own_word_becomes_a_parameter():
    """An error of the tool's own that goes away is named, so that the policy counts it as passing."""
    found = errors_of(analysed(asked_again(error="shop.CarrierBusyError"), 80))
    assert found.suggestion.parameters["transient"] == ["shop.CarrierBusyError"]


def test_any_http_status_is_left_to_the_runtime():
    """A client's word for every status is not named as passing: 404 would be too."""
    found = errors_of(analysed(asked_again(error="httpx.HTTPStatusError"), 80))
    assert found.suggestion is not None
    assert "transient" not in found.suggestion.parameters


def test_turns_that_did_other_work_are_not_spared():
    """The model looked elsewhere before it asked again: those turns were taken anyway."""

    def write(writer, rng, place):
        writer.infer(1.0)
        writer.tool("flaky", 0.5, arguments=f"a{place}", error_type="TimeoutError")
        writer.infer(1.0)
        writer.tool("other", 0.5)
        writer.infer(1.0)
        writer.tool("flaky", 0.5, arguments=f"a{place}")

    assert not opportunity(analysed(write, 60))


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        ("httpx.ConnectTimeout", None, True),
        ("ConnectionResetError", None, True),
        ("RateLimitError", None, True),
        ("503", None, True),
        ("404", None, False),
        ("httpx.HTTPStatusError", 503, True),
        ("httpx.HTTPStatusError", 404, False),
        ("httpx.HTTPStatusError", None, None),
        ("FileNotFoundError", None, False),
        ("tool_error", None, None),
    ],
)
def test_what_an_error_says_of_itself(error, status, told):
    """By its type's name or the HTTP status it states; many say neither."""
    attributes = {} if status is None else {c.HTTP_RESPONSE_STATUS_CODE: status}
    target = Target(tool="flaky")
    step = Step("t", "s", "p", StepKind.TOOL, "flaky", target, 0, 1, error_type=error, attributes=attributes)
    assert passing(step) is told
