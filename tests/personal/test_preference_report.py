"""What people prefer, and how satisfied they are, is shown without naming anybody."""

from __future__ import annotations

import json
from dataclasses import replace

from click.testing import CliRunner
from simulated_users import SimulatedUser, Taste, population, rounds

from otel_perfopt.analyse.analysis import Analysis, Counts, InputTally
from otel_perfopt.analyse.preference_profile import BEHAVIOUR, NONE_SHOWN
from otel_perfopt.analyse.preference_use import PreferenceUse
from otel_perfopt.cli.preference import preference
from otel_perfopt.conventions import PREFERENCE, PREFERENCE_SOURCE
from otel_perfopt.decide.user_salt import user_salt
from otel_perfopt.execution.model import Assignment, Evaluation
from otel_perfopt.report.document import report_json
from otel_perfopt.report.preferences import preferences
from otel_perfopt.signal.preference import SPEED
from otel_perfopt.signal.user_digest import user_digest


def used(runs):
    use = PreferenceUse()
    for run in runs:
        use.observe(run)
    return use.result()


def test_preferences_are_counted_by_command_and_nobody_is_named():
    """One user of twenty-one is counted as preferring speed, the others as showing nothing."""
    hurry = SimulatedUser("hurry@example.org", {"/query": SPEED}, Taste(rates=0.9))
    found = used(rounds([*population(20, seed=20), hurry], 70))
    by_kind = {(row.preference, row.basis): row for row in found.commands}
    assert by_kind["", NONE_SHOWN].users == 20
    assert by_kind[SPEED, BEHAVIOUR].users == 1
    assert by_kind[SPEED, BEHAVIOUR].satisfaction is not None
    analysis = Analysis(InputTally(), None, Counts(), preferences=found)
    assert "example.org" not in report_json(analysis)
    section = preferences(analysis)
    assert "1 have a preference" in section.sentences[0]
    assert section.tables[0].rows[1][:4] == ("/query", "speed", "behaviour", "1")


def test_satisfaction_is_shown_by_policy_arm_and_preference():
    """Each arm's runs, ratings and mean score stand by what the user prefers; without scores the mean is not known."""
    template = next(rounds([SimulatedUser("t")], 1))
    runs = []
    for arm, word, score in (("treatment", SPEED, 1.0), ("treatment", SPEED, 0.5), ("baseline", "", None)):
        said = {PREFERENCE: word, PREFERENCE_SOURCE: "learned"} if word else {}
        scores = () if score is None else (Evaluation("feedback", score),)
        command = replace(template.command, attributes=said)
        runs.append(replace(template, command=command, evaluations=scores, arms={"quick": Assignment(arm)}))
    rows = [(row.arm, row.preference, row.runs, row.rated, row.satisfaction) for row in used(runs).satisfaction]
    assert rows == [("baseline", "unknown", 1, 0, None), ("treatment", "speed", 2, 2, 0.75)]


def test_where_no_user_is_known_nothing_is_shown():
    """A report on runs of nobody in particular has no such part."""
    run = next(rounds([SimulatedUser("t")], 1))
    found = used([replace(run, user_id="")])
    assert preferences(Analysis(InputTally(), None, Counts(), preferences=found)) is None


def test_the_command_prints_the_digest_that_policies_name(tmp_path):
    """The same id gives the folder's digest, by argument or input; the id is written nowhere."""
    runner = CliRunner()
    by_argument = runner.invoke(preference, ["--home", str(tmp_path), "ada@example.org"], catch_exceptions=False)
    by_input = runner.invoke(preference, ["--home", str(tmp_path), "--json", "-"], input="ada@example.org\n")
    digest = user_digest("ada@example.org", user_salt(tmp_path))
    assert by_argument.output.strip() == digest
    assert json.loads(by_input.output) == {"user": digest, "profiles": []}
    assert not any("example.org" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
