"""What is learned from ended roll-outs, on ledgers whose truth was planted."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_perfopt.analyse.finding import Interval
from otel_perfopt.decide.learned_file import LearnedFile
from otel_perfopt.decide.learning import Candidate, Learned
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.pooling import Estimate, calibration, combined, estimate_of, pool
from otel_perfopt.decide.refinement import refinements
from otel_perfopt.decide.trial_outcome import Context, TrialOutcome, trial_outcomes

NOW = 10**18


def outcome(tool: str = "search", end: str = "promoted", saved: float | None = 0.2, **changes) -> TrialOutcome:
    realised = None if saved is None else Interval(saved, saved - 0.05, saved + 0.05, 0.9)
    base = TrialOutcome(
        policy=f"{tool}-cache",
        digest=f"d-{tool}",
        optimization="tool_cache",
        context=Context("/query", tool),
        end=end,
        reason="because",
        time_ns=NOW,
        metric="latency",
        realised=realised,
    )
    return replace(base, **changes)


# --- from the ledger ------------------------------------------------------------------------------


def ledger(*steps: dict, policy: str = "p", ttl: str = "5m") -> list[LedgerEntry]:
    document = {
        "metadata": {
            "annotations": {
                "perfopt.dev/predicted": "0.3",
                "perfopt.dev/predicted-low": "0.2",
                "perfopt.dev/predicted-high": "0.4",
            }
        },
        "spec": {
            "match": {"command": "/query", "tool": ["search"]},
            "optimize": {"type": "tool_cache", "with": {"ttl": ttl}},
            "goal": {"metric": "latency"},
        },
    }
    entries = [LedgerEntry(NOW, "perfopt", "declare", policy, "d", "new", "proposed", details={"document": document})]
    for number, step in enumerate(steps, start=1):
        entries.append(LedgerEntry(NOW + number, step.pop("actor", "perfopt"), step.pop("event"), policy, "d", **step))
    return entries


EFFECT = {"estimate": -0.25, "low": -0.3, "high": -0.2, "level": 0.9, "absolute": False}
PROMOTE = {
    "event": "promote",
    "from_state": "canary",
    "to_state": "active",
    "details": {"outcome": {"effects": {"latency": EFFECT}, "units_per_day": 500.0}},
}
HARM = {"event": "rollback", "from_state": "active", "to_state": "rolled back", "reason": "latency +20 %"}


def test_a_promotion_is_learned_with_what_was_predicted_and_measured():
    """Type, place, load, prediction and realised saving come from the ledger alone."""
    (one,) = trial_outcomes(ledger(dict(PROMOTE)))
    assert (one.optimization, one.end, one.metric, one.succeeded) == ("tool_cache", "promoted", "latency", True)
    assert one.context == Context("/query", "search", "*", "medium")
    assert one.predicted.estimate == 0.3
    assert (one.realised.low, one.realised.estimate, one.realised.high) == (0.2, 0.25, 0.3)


def test_the_last_word_on_a_trial_counts_and_a_retry_is_another_trial():
    """Promoted and later harmful is a failure; tried again and promoted is a success beside it."""
    retry = {"event": "retry", "from_state": "rolled back", "to_state": "proposed", "actor": "ann"}
    outcomes = trial_outcomes(ledger(dict(PROMOTE), dict(HARM), retry, dict(PROMOTE)))
    assert [one.end for one in outcomes] == ["taken back", "promoted"]
    assert outcomes[0].reason == "latency +20 %"


@pytest.mark.parametrize(
    "step",
    [
        {**HARM, "details": {"by": "boundary"}},
        {"event": "void", "from_state": "canary", "to_state": "proposed"},
        {"event": "retire", "from_state": "active", "to_state": "retired", "reason": "its file is gone"},
        {"event": "reject", "from_state": "proposed", "to_state": "rejected"},
    ],
)
def test_what_says_nothing_about_the_optimization_is_no_outcome(step):
    """Boundaries, edits, removed files and refusals teach nothing about effects."""
    assert trial_outcomes(ledger(dict(step))) == ()


def test_an_extended_trial_waits_for_its_real_end():
    """Without a verdict, then extended: no outcome until it ends again."""
    end = {"event": "end", "from_state": "canary", "to_state": "inconclusive"}
    extend = {"event": "extend", "from_state": "inconclusive", "to_state": "awaiting approval", "actor": "ann"}
    assert [one.end for one in trial_outcomes(ledger(dict(end)))] == ["without a verdict"]
    assert trial_outcomes(ledger(dict(end), dict(extend))) == ()


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["spec", "match", "goal", "metadata", "effects", "outcome"]), inner, max_size=4),
    )
)  # fmt: skip
def test_no_document_or_outcome_stops_the_learner(odd):
    """Whatever stands in an entry's details, learning goes on."""
    for details in ({"document": odd}, {"document": {"spec": odd}}, {"outcome": odd}):
        entries = ledger(dict(PROMOTE))
        entries.insert(1, LedgerEntry(NOW, "perfopt", "declare", "q", "d", "new", "proposed", details=details))
        entries.append(LedgerEntry(NOW, "perfopt", "promote", "q", "d", "canary", "active", details=details))
        entries.append(LedgerEntry(NOW, "perfopt", "promote", "p", "d", "canary", "active", details=details))
        trial_outcomes(entries)


# --- statistics -----------------------------------------------------------------------------------


def test_shrinkage_beats_each_context_alone_and_every_context_alike():
    """With a planted spread between contexts, shrunk effects are nearer the truth than raw or pooled ones."""
    draw = random.Random(5)
    raw = shrunk = alike = 0.0
    for _ in range(200):
        truths = [draw.gauss(0.2, 0.1) for _ in range(8)]
        seen = [Estimate(draw.gauss(truth, 0.1), 0.01) for truth in truths]
        whole = pool(seen)
        for truth, one in zip(truths, seen, strict=True):
            raw += (one.value - truth) ** 2
            shrunk += (whole.shrunk(one).value - truth) ** 2
            alike += (whole.mean.value - truth) ** 2
    assert shrunk < 0.75 * raw
    assert shrunk < 0.75 * alike


def test_an_unseen_context_is_predicted_with_its_uncertainty():
    """The 95 % interval for a context nobody tried holds its planted truth about that often."""
    draw, held = random.Random(6), 0
    for _ in range(400):
        seen = [Estimate(draw.gauss(draw.gauss(0.2, 0.1), 0.05), 0.0025) for _ in range(12)]
        found = pool(seen).unseen
        held += abs(draw.gauss(0.2, 0.1) - found.value) <= 1.96 * math.sqrt(found.variance)
    assert 0.88 <= held / 400 <= 0.99


def test_calibration_recovers_a_planted_ratio():
    """Realised at 0.7 of what was predicted is found as 0.7, with an interval that holds it."""
    draw = random.Random(7)
    pairs = []
    for _ in range(25):
        predicted = draw.uniform(0.05, 0.4)
        pairs.append((Estimate(predicted, 0.001), Estimate(draw.gauss(0.7 * predicted, 0.03), 0.0009)))
    found = calibration(pairs)
    assert found.low < 0.7 < found.high
    assert found.estimate == pytest.approx(0.7, abs=0.08)
    assert calibration([]) is None


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(1e-6, 10)), min_size=1, max_size=12))
def test_pooling_holds_for_any_numbers(rows):
    """The common effect lies among the effects, shrinkage never overshoots, and no variance is negative."""
    seen = [Estimate(*row) for row in rows]
    whole = pool(seen)
    values = [one.value for one in seen]
    assert min(values) - 1e-6 <= whole.mean.value <= max(values) + 1e-6
    assert whole.spread >= 0
    for one in seen:
        near = whole.shrunk(one)
        assert min(one.value, whole.mean.value) - 1e-6 <= near.value <= max(one.value, whole.mean.value) + 1e-6
        assert near.variance > 0
    assert combined(seen).variance <= min(one.variance for one in seen) * (1 + 1e-9)


def test_a_share_comes_back_from_its_logarithm():
    """A saving of 20 % (15 to 25 %) is itself again after the way there and back."""
    again = estimate_of(Interval(0.2, 0.15, 0.25, 0.95)).interval()
    assert again.estimate == pytest.approx(0.2)
    assert (again.low, again.high) == (pytest.approx(0.15, abs=0.003), pytest.approx(0.25, abs=0.003))


# --- what follows ---------------------------------------------------------------------------------


def test_effects_by_context_and_by_feature():
    """Each place tried has its shrunk effect; a failure without a measurement counts, and claims none."""
    learned = Learned([outcome("a", saved=0.3), outcome("b", saved=0.1), outcome("c", "taken back", None)])
    rows = {row.context: row for row in learned.effects()}
    assert rows["/query · c"].saved is None
    assert (rows["/query · c"].trials, rows["/query · c"].succeeded) == (1, 0)
    assert 0.1 < rows["/query · b"].saved.estimate < rows["/query · a"].saved.estimate < 0.3
    (whole,) = learned.effects_by("command")
    assert (whole.context, whole.trials, whole.succeeded) == ("/query", 3, 2)


def test_failures_lower_the_rank_and_say_why():
    """What was taken back where it would be tried again comes behind what was not, with the reason kept."""
    learned = Learned([outcome("a"), outcome("b", "taken back", 0.15, reason="stale results")])
    good = learned.rank(Candidate("tool_cache", Context("/query", "a"), predicted=Interval(0.2, 0.1, 0.3)))
    again = Candidate("tool_cache", Context("/query", "b"), predicted=Interval(0.2, 0.1, 0.3), digest="d-b")
    bad = learned.rank(again)
    other = learned.rank(replace(again, digest="d-other"))
    assert bad.score < other.score < good.score
    assert any("stale results" in reason for reason in bad.reasons)


def test_the_riskier_of_two_alike_comes_second():
    """Expected value times probability over risk: at equal prospects the safer type leads."""
    learned = Learned(())
    safe = learned.rank(Candidate("parallel_tools", Context(), predicted=Interval(0.2, 0.1, 0.3)))
    risky = learned.rank(Candidate("tool_cache", Context(), predicted=Interval(0.2, 0.1, 0.3)))
    assert safe.saved == risky.saved
    assert safe.score > risky.score > 0


def test_predictions_are_taken_as_experience_corrects_them():
    """A type whose predictions were twice what came is believed about half."""
    tried = [outcome(f"t{number}", saved=0.1, predicted=Interval(0.2, 0.18, 0.22, 0.95)) for number in range(6)]
    learned = Learned(tried)
    assert learned.calibration("tool_cache").estimate == pytest.approx(0.47, abs=0.05)
    assert learned.calibrated("tool_cache", Interval(0.2, 0.18, 0.22)).interval().estimate < 0.13
    assert learned.calibration("parallel_tools") is None


def test_the_best_for_an_unseen_context_is_named_with_its_uncertainty():
    """Types that were tried elsewhere are ranked for a place where nothing was tried."""
    parallel = [outcome(f"p{n}", saved=0.3 + n / 50, optimization="parallel_tools") for n in range(4)]
    cache = [outcome(f"c{n}", saved=0.1 + n / 50) for n in range(4)]
    ranked = Learned([*parallel, *cache]).best_for(Context("/new"))
    assert [kind for kind, _ in ranked] == ["parallel_tools", "tool_cache"]
    assert ranked[0][1].saved.low < ranked[0][1].saved.estimate < ranked[0][1].saved.high


def test_what_users_felt_moves_the_rank():
    """Less satisfied users lower a type's rank, and that is said."""
    felt = {"everybody": {"treatment": {"satisfaction": 0.5}, "baseline": {"satisfaction": 0.8}}}
    candidate = Candidate("tool_cache", Context("/query", "z"))
    plain, liked = Learned([outcome()]).rank(candidate), Learned([outcome(user_impact=felt)]).rank(candidate)
    assert liked.score == pytest.approx(0.7 * plain.score)
    assert any("less satisfied" in reason for reason in liked.reasons)


# --- parameters -----------------------------------------------------------------------------------


def tried(*pairs: tuple[str, str]) -> list[TrialOutcome]:
    return [outcome(end=end, parameters={"ttl": ttl, "scope": "tenant"}) for ttl, end in pairs]


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("8m", "taken back")], "4m"),
        ([("8m", "taken back"), ("4m", "taken back")], "2m"),
        ([("5m", "without a verdict")], "10m"),
        ([("1m", "without a verdict"), ("16m", "taken back")], "4m"),
        ([("5m", "without a verdict"), ("6m", "taken back")], None),
        ([("8m", "taken back"), ("4m", "promoted")], None),
        ([("24h", "without a verdict")], None),
        ([("1s", "taken back")], None),
        ([("broken", "taken back")], None),
    ],
)
def test_the_next_value_follows_from_what_was_tried(pairs, expected):
    """Harmful is halved, weak is doubled, between them the geometric mean; what works or was tried is left."""
    found = refinements(tried(*pairs))
    assert [finding.suggestion.parameters["ttl"] for finding in found] == ([expected] if expected else [])
    for finding in found:
        assert finding.suggestion.parameters["scope"] == "tenant"
        assert finding.kind == "refinement"


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"null", b"[1]", b"\xff\xfe", b'{"format": "perfopt.learned", "version": 1, "head": "x"}', b"[" * 100_000,
     json.dumps({"format": "perfopt.learned", "version": 1, "head": "", "outcomes": [{"policy": 3}]}).encode()],
)  # fmt: skip
def test_a_corrupt_file_is_set_aside_and_learned_again(tmp_path, broken):
    """Whatever stands in the learner's file, the ledger's outcomes come out, and the file is kept for a look."""
    entries = [entry.chained(number, "0") for number, entry in enumerate(ledger(dict(PROMOTE)), start=1)]
    (tmp_path / "learned.json").write_bytes(broken)
    file = LearnedFile(tmp_path)
    assert len(file.learned(entries).outcomes) == 1
    assert file.faults == 1
    assert (tmp_path / "learned.json.set-aside").read_bytes() == broken
    again = LearnedFile(tmp_path)
    assert again.learned(entries).outcomes == file.learned(entries).outcomes
    assert again.faults == 0


def test_an_old_file_is_learned_again_and_a_full_disk_is_survived(tmp_path):
    """The file of an earlier head is not believed; where nothing can be written, what was learned is used."""
    entries = [entry.chained(number, "0") for number, entry in enumerate(ledger(dict(PROMOTE), dict(HARM)), start=1)]
    LearnedFile(tmp_path).learned(entries[:2])
    assert [one.end for one in LearnedFile(tmp_path).learned(entries).outcomes] == ["taken back"]
    nowhere = LearnedFile(tmp_path / "learned.json")
    assert [one.end for one in nowhere.learned(entries).outcomes] == ["taken back"]
    assert nowhere.faults
