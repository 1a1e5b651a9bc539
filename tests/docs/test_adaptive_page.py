"""The page on adaptive execution: every example in it passes `perfopt check`, in one home folder with its boundary."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adaptive.md"
YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def checked(home, status):
    done = subprocess.run(
        [sys.executable, "-m", "otel_perfopt.cli.main", "check"],
        cwd=home.parent,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_example_passes_the_check_and_a_level_of_another_kind_does_not(tmp_path):
    """All examples together are valid beside each other and within the page's boundary; a wrong one is told with its place."""
    home = tmp_path / ".perfopt"
    (home / "policies").mkdir(parents=True)
    examples = YAML.findall(PAGE.read_text(encoding="utf-8"))
    for number, example in enumerate(examples):
        boundary = "kind: SafetyBoundary" in example
        (home / ("boundary.yaml" if boundary else f"policies/{number}.yaml")).write_text(example, encoding="utf-8")
    said = checked(home, 0)
    for name in ("twins-when-slow", "search-ahead", "search-cached", "search-ahead-tuned", "ahead-within-budget"):
        assert f"{name}: ok" in said
    (home / "policies" / "0.yaml").write_text(examples[0].replace("above: 8s", "above: 8%"), encoding="utf-8")
    (home / "policies" / "2.yaml").write_text(
        examples[2].replace("metric: latency", "metric: tokens"), encoding="utf-8"
    )
    said = checked(home, 1)
    assert "above of model_latency_p95 is written as 2s" in said
    assert "are no alternatives: they compare" in said
