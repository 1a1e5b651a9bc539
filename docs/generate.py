"""Writes the reference pages from the code: `python -m docs.generate`; with `--check` it only says what is stale."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docs.generation.cli_page import cli_page
from docs.generation.detector_page import detector_page
from docs.generation.optimization_page import optimization_page
from docs.generation.policy_page import policy_page
from docs.generation.settings_page import settings_page
from docs.generation.telemetry_page import telemetry_page
from otel_perfopt.report.document_reference import reference

DOCS: Final = Path(__file__).resolve().parent
# One entry a page, by its path in docs/.
PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "reference/policy.md": policy_page,
    "reference/optimizations.md": optimization_page,
    "reference/detectors.md": detector_page,
    "reference/telemetry.md": telemetry_page,
    "reference/settings.md": settings_page,
    "reference/commands.md": cli_page,
    "report-json.md": reference,
}


def stale(folder: Path = DOCS) -> dict[str, str]:
    """Return the pages that are not what the code says, with what it says."""
    made = {name: make() for name, make in PAGES.items()}
    return {name: text for name, text in made.items() if _read(folder / name) != text}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def main() -> int:
    """Write what is stale; with `--check` write nothing and return 1 where something is."""
    found = stale()
    for name, text in found.items():
        if "--check" not in sys.argv:
            (DOCS / name).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{'stale' if '--check' in sys.argv else 'written'}: docs/{name}\n")
    return int(bool(found) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
