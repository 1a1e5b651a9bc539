"""The published schema: the models in, `docs/policy.schema.json` out (run as a module from the checkout)."""

from __future__ import annotations

import json
from pathlib import Path

from otel_perfopt.decide.policy_file import policy_schema

SCHEMA_FILE = Path("docs/policy.schema.json")


def write_schema(path: Path = SCHEMA_FILE) -> None:
    """Write the schema of policies and boundaries."""
    path.write_text(json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_schema()
