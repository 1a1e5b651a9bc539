"""Every panel against a real Prometheus that the example agents and a controller feed."""

from __future__ import annotations

import math
import sys
import time
from urllib.error import HTTPError

import pytest
import yaml
from live_prometheus import RULES
from substitution import VALUES, substituted

pytest.importorskip("grafana_foundation_sdk", reason="pip install grafana-foundation-sdk")
if sys.version_info < (3, 11):
    pytest.skip("grafana-foundation-sdk needs Python 3.11", allow_module_level=True)

from dashboards import build
from dashboards.preview.picture import picture
from dashboards.preview.result import Prometheus, Window
from otel_perfopt.decide.policy_set import PolicySet

MADE = build.dashboards()
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MADE)
def test_every_expression_returns_data(stage, name):
    """No panel is empty and none shows only NaN: all of it was measured by real agents and a real controller."""
    prometheus, _ = stage
    empty = []
    for one in build.expressions(MADE[name]):
        try:
            result = prometheus.query(substituted(one.expr))
        except HTTPError as error:
            pytest.fail(f"{one.panel}: {one.expr}: {error.read().decode()}")
        numbers = [float(row["value"][1]) for row in result if "value" in row]
        if not result or (numbers and all(math.isnan(number) for number in numbers)):
            empty.append((one.panel, substituted(one.expr)))
    assert empty == []


def test_exemplars_lead_to_traces_that_were_recorded(stage):
    """The dots of a panel carry trace ids of the agents' own telemetry."""
    prometheus, home = stage
    recorded = "".join(path.read_text() for path in (home / "telemetry").glob("*.jsonl"))
    shown = [one for made in MADE.values() for one in build.expressions(made) if one.exemplar]
    assert len(shown) >= 5
    for one in shown:
        found = prometheus.exemplars(substituted(one.expr), time.time() - 300, time.time())
        ids = [exemplar["labels"]["trace_id"] for series in found for exemplar in series["exemplars"]]
        assert ids, one.panel
        # The newest may still be on their way to the file.
        assert sum(identity in recorded for identity in ids) >= len(ids) / 2, one.panel


def test_marks_stand_where_the_ledger_says(stage):
    """Each mark is the moment of a change that the ledger holds, the roll-back by a person among them."""
    prometheus, home = stage
    entries = PolicySet.open(home, time.time_ns()).ledger.entries
    moments = {(entry.policy, entry.from_state, entry.to_state): entry.time_ns / 1e6 for entry in entries}
    (mark,) = MADE["overview.json"]["annotations"]["list"]
    series = prometheus.query(mark["expr"])
    told = {
        (row["metric"]["perfopt_policy"], row["metric"]["perfopt_change_from"], row["metric"]["perfopt_change_to"]): row
        for row in series
    }
    assert ("noisy-parallel", "canary", "rolled back") in told
    for change, row in told.items():
        assert float(row["value"][1]) == pytest.approx(moments[change], abs=1.0)


def test_what_the_controller_says_is_what_its_home_says(stage):
    """States, roll-backs and risk on the dashboards agree with the ledger and the documents."""
    prometheus, home = stage
    statuses = PolicySet.open(home, time.time_ns()).statuses(time.time_ns())
    states = {
        row["metric"]["perfopt_policy"]: float(row["value"][1]) for row in prometheus.query("perfopt_policy_state")
    }
    assert set(states) == {status.name for status in statuses}
    assert states["noisy-parallel"] == 8
    (rolled_back,) = prometheus.query('perfopt_policy_rollbacks_total{perfopt_policy="noisy-parallel"}')
    assert float(rolled_back["value"][1]) == 1


def test_what_is_recorded_has_data(stage):
    """The recording rules, loaded by the server as they are, give series; the shares among them are shares."""
    prometheus, _ = stage
    groups = yaml.safe_load((RULES / "recording.yaml").read_text())["groups"]
    for name in (rule["record"] for group in groups for rule in group["rules"]):
        assert prometheus.query(name), name
    shares = [float(row["value"][1]) for row in prometheus.query("perfopt:commands_failed:ratio_rate5m")]
    assert len(shares) == 2
    assert all(0 < share < 1 for share in shares)


def test_a_healthy_scene_raises_no_alarm(stage):
    """Of the alerts about the whole none fires but that commands may fail: the example's model fails on purpose."""
    prometheus, _ = stage
    firing = {row["metric"]["alertname"] for row in prometheus.query('ALERTS{alertstate="firing"}')}
    assert firing <= {"PerfoptCommandsFail"}


def test_pictures_show_every_panel(stage):
    """The preview draws the overview with its real data; no panel of it is empty."""
    prometheus, _ = stage
    now = time.time()
    svg = picture(MADE["overview.json"], Prometheus(prometheus.url, VALUES), Window(now - 60, now, 2.0))
    assert "no data</text>" not in svg
    for panel in MADE["overview.json"]["panels"]:
        assert panel["title"] in svg
