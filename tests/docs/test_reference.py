"""The reference pages are what the code says, and every field, setting, metric and attribute has a meaning."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from docs.generate import DOCS, PAGES, stale
from docs.generation import settings_words, telemetry_words
from docs.generation.fields import fields_of
from docs.generation.optimization_page import proposing_findings
from docs.generation.policy_page import BOUNDARY_MODELS, POLICY_MODELS
from docs.generation.policy_words import MEANINGS
from docs.generation.settings_page import variables
from docs.generation.telemetry_page import attribute_names, metric_names, policy_fields, said_of
from otel_perfopt.cli.group import COMMANDS
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.policy_file import policy_schema
from otel_perfopt.settings import AgentSettings


def test_no_page_is_stale():
    """Each generated page is what the code says now (python -m docs.generate writes them)."""
    assert list(stale()) == []


def test_every_page_is_told_from_a_changed_one(tmp_path):
    """A page that is missing or differs by a letter is found."""
    for name in PAGES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((DOCS / name).read_text(encoding="utf-8") + "x", encoding="utf-8")
    assert set(stale(tmp_path)) == set(PAGES)


def test_every_field_of_a_policy_has_a_meaning_and_no_meaning_is_left_over():
    """The words of the policy reference and the models that check policies name the same fields."""
    definitions = policy_schema()["$defs"]
    models = (*POLICY_MODELS, *BOUNDARY_MODELS)
    there = {(model.__name__, field.name) for model in models for field in fields_of(model, definitions)}
    assert there == set(MEANINGS)


def test_every_setting_is_read_from_a_variable_with_a_meaning():
    """The table of settings is complete."""
    known = variables()
    assert set(known) == {field.name for field in fields(AgentSettings)}
    assert set(known.values()) == set(settings_words.MEANINGS)


def test_every_metric_and_attribute_has_a_meaning_and_no_word_is_left_over():
    """What the table of names holds is explained, and nothing else is."""
    metrics = {name.value[0]: name for name in metric_names()}
    assert [key for key, name in metrics.items() if not said_of(name, telemetry_words.METRICS, key)] == []
    assert set(telemetry_words.METRICS) <= set(metrics)
    attributes = {str(name.value): name for name in attribute_names()}
    of_policies = {f"policy.{name.value}": name for name in policy_fields()}
    everything = attributes | of_policies
    assert [key for key, name in everything.items() if not said_of(name, telemetry_words.ATTRIBUTES, key)] == []
    assert set(telemetry_words.ATTRIBUTES) <= set(everything)


@pytest.mark.parametrize(
    ("optimization", "finding"),
    [
        ("tool_cache", "repeated_call"),
        ("parallel_tools", "serial_independent"),
        ("adaptive_concurrency", "rate_limit"),
        ("prompt_cache", "cache_break"),
        ("warm_up", "seasonal_peak"),
    ],
)
def test_the_catalogue_knows_which_finding_suggests_what(optimization, finding):
    """What is read off the analysis' code agrees with what its detectors suggest."""
    assert finding in proposing_findings()[optimization]


def test_every_suggested_optimization_is_known():
    """The analysis suggests nothing that the catalogue does not have, but for what is said to be planned."""
    page = (DOCS / "reference" / "optimizations.md").read_text(encoding="utf-8")
    assert all(f"\n## {name}\n" in page for name in OPTIMIZATION_TYPES)
    commands = (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    assert all(f"\n## perfopt {name}\n" in commands for name in COMMANDS)
