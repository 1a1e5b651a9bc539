"""The dashboards as they are committed: made from the code, in Grafana's schema, and of metrics that exist."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("grafana_foundation_sdk", reason="pip install grafana-foundation-sdk")
if sys.version_info < (3, 11):
    pytest.skip("grafana-foundation-sdk needs Python 3.11", allow_module_level=True)

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import build, reference
from otel_perfopt import conventions
from otel_perfopt.decide.prometheus_name import COUNTER, GAUGE, HISTOGRAM, label_name, metric_name

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "dashboards"
MADE = build.dashboards()
EXPRESSIONS = [one for made in MADE.values() for one in build.expressions(made)]
UNITS = {value for name, value in vars(conventions).items() if name.startswith("METRIC_") and isinstance(value, tuple)}
KNOWN = {metric_name(*one, kind) for one in UNITS for kind in (COUNTER, GAUGE, HISTOGRAM)}
LABELS = {label_name(value) for value in vars(conventions).values() if isinstance(value, str)} | {"job", "instance"}


def test_committed_json_is_what_the_code_makes():
    """Nobody edits the JSON: `python -m dashboards` writes it."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in (FOLDER / "json").glob("*.json")}
    assert committed == {name: build.as_text(made) for name, made in MADE.items()}


def test_the_documentation_lists_every_panel():
    """The generated part of docs/dashboards.md is up to date."""
    text = reference.DOCUMENT.read_text(encoding="utf-8")
    assert text == reference.with_tables(text)


@pytest.mark.parametrize("name", MADE)
def test_nothing_is_outside_grafanas_schema(name):
    """Read by the schema's own types and written again nothing is lost: no key is misspelt, no type is unknown."""
    plugins.register_default_plugins()
    made = json.loads(json.dumps({**MADE[name], "annotations": {"list": []}}))
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(made)))
    assert _without_defaults(made) == _without_defaults(again)


def _without_defaults(node):
    if isinstance(node, dict):
        return {key: _without_defaults(value) for key, value in node.items() if value not in (None, False, [], {}, "")}
    return [_without_defaults(one) for one in node] if isinstance(node, list) else node


@pytest.mark.parametrize("name", MADE)
def test_panels_have_a_place_and_a_number_of_their_own(name):
    """No two panels of a dashboard overlap or share an id, and each says what it answers."""
    panels = MADE[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or (panel["description"] and panel["targets"])


@pytest.mark.parametrize("one", EXPRESSIONS, ids=lambda one: f"{one.dashboard}/{one.panel}")
def test_expressions_name_what_is_emitted(one):
    """Each metric and label of an expression is one of conventions.py, translated."""
    assert set(re.findall(r"\bperfopt_\w+|\bgen_ai_\w+", one.expr)) <= KNOWN | LABELS


def test_rules_name_what_is_emitted():
    """So does each rule file."""
    for path in (FOLDER / "rules").glob("*.yaml"):
        rules = [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]
        for rule in rules:
            assert set(re.findall(r"\bperfopt_\w+|\bgen_ai_\w+", rule["expr"])) <= KNOWN | LABELS, rule


def test_grafana_finds_dashboards_and_data_sources():
    """What is provisioned and what the dashboards ask for fit together, exemplars included."""
    sources = yaml.safe_load((FOLDER / "provisioning/datasources/perfopt.yaml").read_text())["datasources"]
    by_type = {one["type"]: one for one in sources}
    assert set(by_type) == {"prometheus", "jaeger"}
    (exemplar,) = by_type["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplar == {"name": "trace_id", "datasourceUid": by_type["jaeger"]["uid"]}
    for made in MADE.values():
        asked = {one["query"] for one in made["templating"]["list"] if one["type"] == "datasource"}
        assert asked == set(by_type)
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/perfopt.yaml").read_text())["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"


def test_the_overview_has_the_specifications_rows():
    """Response time, tokens, success and satisfaction with current, target, improvement; active optimizations; queue."""
    panels = {panel["title"]: panel for panel in MADE["overview.json"]["panels"]}
    for title in ("Response time", "Token usage", "Success rate", "User satisfaction"):
        legends = [target["legendFormat"] for target in panels[title]["targets"]]
        assert legends[:2] == ["current", "target"]
        assert [word.split(" (")[0] for word in legends[2:]] == ["improvement achieved", "improvement asked"]
    columns = {
        title: set(panels[title]["transformations"][1]["options"]["renameByName"].values())
        for title in ("Active optimizations", "Optimization queue")
    }
    assert {"policy", "status", "impact"} <= columns["Active optimizations"]
    assert {"estimated impact", "from", "to", "expected time", "risk"} <= columns["Optimization queue"]


def test_charts_lead_to_traces():
    """Commands, thinking, tools and model calls show single runs as exemplars, and link to a search for their traces."""
    for name in ("commands.json", "thinking.json", "tools.json", "tokens.json"):
        text = build.as_text(MADE[name])
        assert '"exemplar": true' in text
        assert "/explore?schemaVersion=1&panes=" in text
