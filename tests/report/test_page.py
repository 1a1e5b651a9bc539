"""The page that `perfopt report` writes: what to do, series over time, and how policies stand."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import vl_convert
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "loop"))

from recorded_weeks import RecordedWeeks
from simulated_fleet import SECOND, SimulatedFleet

from otel_perfopt.analyse import analysis as types
from otel_perfopt.analyse.analyser import analyse
from otel_perfopt.analyse.finding import Evidence, Interval
from otel_perfopt.analyse.recommendation import Impact, Implementation, Monitor, PlanStep, Prediction, Recommendation
from otel_perfopt.execution.model import Target
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.loop.controller import Controller
from otel_perfopt.report.history import history
from otel_perfopt.report.home_sections import home_sections
from otel_perfopt.report.home_view import HomeWatch
from otel_perfopt.report.html import report_html
from otel_perfopt.report.recommendations import recommendations, together
from otel_perfopt.report.series_chart import MOST_POINTS, series_chart
from otel_perfopt.report.standing import PolicyLines
from otel_perfopt.signal.read.recorded import open_recorded

POLICY = """
apiVersion: perfopt.dev/v1
kind: OptimizationPolicy
metadata: {name: parallel, author: somebody}
spec:
  match: {command: [/task]}
  optimize: {type: parallel_tools}
  rollout: {warmup: 0s, steps: [{treatment: 50%, baseline: 50%}]}
  goal: {metric: latency}
"""


@pytest.fixture(scope="module")
def weeks(tmp_path_factory):
    """Return the analysis of three weeks with a daily rhythm, in which release 1.1 makes everything slower."""
    home = tmp_path_factory.mktemp("weeks")
    recorded = RecordedWeeks(home, seed=3)
    for hour in range(21 * 24):
        rhythm = math.sin(2 * math.pi * (hour % 24 - 9) / 24)
        later = hour >= 14 * 24
        recorded.write(
            hour, recorded.poisson(4 + 3 * rhythm), (2 + 0.8 * rhythm) * (1.5 if later else 1), f"1.{later:d}"
        )
    return analyse(RecordedExecutions(open_recorded([home / "telemetry"])))


def test_each_series_shows_its_rhythm_forecast_and_what_became_worse(weeks):
    """The chart of a series holds what the analysis found in it, in words and in layers."""
    times = next(one for one in weeks.histories if one.name == "mean run time")
    drawn = series_chart(times, [one for one in weeks.regressions if one.series == times.name])
    assert all(word in drawn.description for word in ("rhythm", "forecast", "shifts", "became worse"))
    points = drawn.specification["layer"][0]["data"]["values"]
    assert len(points) == sum(value is not None for value in times.series.values)
    forecast = drawn.specification["layer"][2]["data"]["values"]
    assert forecast[-1]["time"] > forecast[0]["time"] >= points[-1]["time"]
    assert all(point["low"] <= point["expected"] <= point["high"] for point in forecast)
    assert vl_convert.vegalite_to_svg(dict(drawn.specification)).startswith("<svg")


def test_the_drawn_rhythm_follows_the_level_on_both_sides_of_a_shift(weeks):
    """What is drawn as expected lies near the values before and after the release."""
    times = next(one for one in weeks.histories if one.name == "mean run time")
    drawn = series_chart(times)
    values = {point["time"]: point["value"] for point in drawn.specification["layer"][0]["data"]["values"]}
    expected = drawn.specification["layer"][1]["data"]["values"]
    near = [abs(values[point["time"]] - point["expected"]) for point in expected if point["time"] in values]
    assert sum(near) / len(near) < 0.35


def test_a_year_of_hours_is_drawn_in_few_points(weeks):
    """A long series is thinned, its mean kept."""
    times = next(one for one in weeks.histories if one.name == "mean run time")
    long = replace(times, series=replace(times.series, values=times.series.values * 20))
    points = series_chart(long).specification["layer"][0]["data"]["values"]
    assert 1000 < len(points) <= MOST_POINTS
    seen = [value for value in times.series.values if value is not None]
    assert sum(point["value"] for point in points) / len(points) == pytest.approx(sum(seen) / len(seen), rel=0.05)


def test_a_recommendation_says_impact_prediction_plan_and_what_to_watch():
    """Everything that a recommendation holds is on the page, the long part folded."""
    item = Recommendation(
        title="tool_cache for tool search",
        reason="search is called again",
        findings=("repeated_call: search",),
        impact=Impact({"tool": ("search",)}, 40, 0.4, 12.0, ("A result may be old.",)),
        prediction=Prediction("latency", Interval(0.2, 0.1, 0.3), 0.5, upper_bound=False, basis="each run replayed"),
        implementation=Implementation(
            "tool_cache",
            {"ttl": "5m"},
            {"tool": ("search",)},
            (PlanStep("canary", 0.05, "100 conversations an arm"), PlanStep("everybody but a hold-back", 0.95, "")),
            1200,
            3.5,
        ),
        monitoring=(Monitor("perfopt.errors", "{error}", "PerfoptHarmNear", "failures rose"),),
        evidence=(Evidence("a" * 32, location="x.jsonl:3", note="2 s"),),
    )
    part = recommendations(types.Analysis(types.InputTally(), None, types.Counts(), recommendations=(item,)))
    (entry,) = part.entries
    assert entry.value == "20 % (10 to 30 %) of run time"
    facts = dict(entry.facts + entry.folded)
    assert set(facts) == {"impact", "risk", "prediction", "policy", "plan", "watch", "answers"}
    assert "40 runs (40 % of all), 12 a day" in facts["impact"]
    assert "at most 50 %" in facts["prediction"]
    assert "with ttl 5m" in facts["policy"]
    assert "1. canary (5.0 % of units), until 100" in facts["plan"]
    assert "1,200 units until a verdict, 3.5 days" in facts["plan"]
    assert "PerfoptHarmNear when failures rose" in facts["watch"]
    assert entry.places == ("x.jsonl:3  2 s",)


def test_what_all_of_it_saves_adds_up():
    """The parts of a combined saving are told one by one, with their sum in a sentence."""
    parts = tuple(types.SavingPart(name, Target(), Interval(0.1, 0.05, 0.15)) for name in ("tool_cache", "preload"))
    saving = types.CombinedSaving("latency", Interval(0.2, 0.1, 0.3), parts)
    part = together(types.Analysis(types.InputTally(), None, types.Counts(), combined=(saving,)))
    assert part.sentences[0] == "Together 20 % (10 to 30 %) of all run time."
    assert [row[1] for row in part.tables[0].rows] == ["tool_cache", "preload"]
    (drawn,) = part.charts
    assert sum(value["share"] for value in drawn.specification["data"]["values"]) == pytest.approx(0.2)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a home whose policy was promoted after a trial that helped, and its moment."""
    folder = tmp_path_factory.mktemp("home")
    fleet = SimulatedFleet(folder, seed=3)
    (folder / "policies").mkdir()
    (folder / "policies" / "parallel.yaml").write_text(POLICY)
    controller = Controller(folder, fleet.clock)
    controller.turn()
    controller.policies.approve("parallel", "a-second-person", "looks right", fleet.now_ns, "canary")
    controller.turn()
    for _ in range(4):
        fleet.converse(150, treated_seconds=0.5)
        fleet.now_ns += 60 * SECOND
        controller.turn()
    return folder, fleet.now_ns


def test_policies_stand_on_the_page_with_verdict_and_ledger(home):
    """A home's policies are told with state, effect, guardrails, and every step of the ledger."""
    first, last = home_sections(HomeWatch(home[0]).look(home[1]))
    policies = first[0]
    row = dict(zip(policies.tables[0].columns, policies.tables[0].rows[0], strict=True))
    assert row["policy"] == "parallel"
    assert row["goal so far"].startswith("latency -")
    assert {compared[2] for compared in policies.tables[1].rows} >= {"goal", "guardrail"}
    assert policies.charts[0].specification["data"]["values"][0]["high"] < 0
    happened = last[-1]
    assert [row[0] for row in happened.tables[0].rows] == sorted((r[0] for r in happened.tables[0].rows), key=int)[::-1]
    assert "looks right" in str(happened.tables[0].rows)


def test_looking_changes_nothing(home):
    """A report reads a home folder without writing a byte into its ledger or policies."""
    before = {path: path.read_bytes() for path in home[0].rglob("*") if path.is_file()}
    HomeWatch(home[0]).look(home[1])
    after = {path: path.read_bytes() for path in home[0].rglob("*") if path.is_file()}
    assert before == after


def test_the_page_has_policies_after_the_overview_and_is_self_contained(home, weeks):
    """The whole page holds both halves and loads nothing from anywhere."""
    first, last = home_sections(HomeWatch(home[0]).look(home[1]))
    page = report_html(weeks, further=first, last=last)
    assert page.index(">Overview<") < page.index("Policies and verdicts") < page.index(">Findings<")
    assert page.index(">Findings<") < page.rindex("What happened")
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/", "")


@pytest.mark.parametrize("width", [100, 160])
def test_the_watched_status_is_a_line_a_policy_and_never_cuts_its_name(home, width):
    """On a screen that is looked at again and again each policy has one line."""
    view = HomeWatch(home[0]).look(home[1])
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(PolicyLines(view.statuses, view.standings))
    head, line = console.export_text().rstrip().splitlines()
    assert head.split()[:4] == ["policy", "state", "units", "goal"]
    assert line.startswith("parallel ")
    assert len(line) <= width


def test_series_that_say_nothing_are_told_once(tmp_path):
    """An hour of telemetry has one sentence on time, not a table of excuses."""
    recorded = RecordedWeeks(tmp_path)
    recorded.write(0, 5, 2.0)
    part = history(analyse(RecordedExecutions(open_recorded([tmp_path / "telemetry"]))))
    assert len(part.sentences) == 1
    assert "mean run time" in part.sentences[0]
    assert "are needed" in part.sentences[0]
    assert part.tables == ()
    assert part.charts == ()
