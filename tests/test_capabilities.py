"""The list of capabilities promises only what stands in the repository."""

from __future__ import annotations

import re

import pytest


@pytest.fixture(scope="module")
def rows(request):
    text = (request.config.rootpath / "docs" / "capabilities.md").read_text(encoding="utf-8")
    return [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if re.match(r"\| S\d{3} ", line)]


def test_every_leaf_has_its_row(rows):
    """The ids are those of the specification, in order and each once."""
    assert [row[0] for row in rows] == [f"S{number:03d}" for number in range(1, 138)]
    assert {row[2] for row in rows} <= {"works", "partly", "planned"}


def test_what_works_names_what_shows_it(request, rows):
    """Every test, folder or benchmark that a row names is there."""
    root = request.config.rootpath
    for row in (row for row in rows if row[2] == "works"):
        shown_by = row[4]
        named = re.findall(r"(?:tests|benchmarks)[\w/.]*", shown_by)
        assert named or re.search(r"`make demo`|as S\d{3}", shown_by), row
        assert all((root / path.rstrip(".")).exists() for path in named), row
