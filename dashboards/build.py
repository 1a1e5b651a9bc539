"""The dashboards as they are declared in, one JSON file each and their table in docs/dashboards.md out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dashboards.pages import commands, fleet, overview, policies, thinking, tokens, tools

FOLDER = Path(__file__).parent
PAGES = (overview, commands, thinking, tools, tokens, policies, fleet)


class Expression(NamedTuple):
    """One PromQL expression and where it stands."""

    dashboard: str
    panel: str
    expr: str
    instant: bool
    exemplar: bool


def dashboards() -> dict[str, dict[str, Any]]:
    """Return every dashboard by its file's name."""
    found = {}
    for module in PAGES:
        data = module.dashboard()
        found[f"{data['uid'].removeprefix('perfopt-')}.json"] = data
    return found


def as_text(dashboard: Mapping[str, Any]) -> str:
    """Return a dashboard as it is committed."""
    return json.dumps(dashboard, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER / "json") -> list[Path]:
    """Write every dashboard, remove what is none any more, and return the files."""
    folder.mkdir(exist_ok=True)
    written = []
    for name, dashboard in dashboards().items():
        path = folder / name
        path.write_text(as_text(dashboard), encoding="utf-8")
        written.append(path)
    for path in set(folder.glob("*.json")) - set(written):
        path.unlink()
    return written


def expressions(dashboard: Mapping[str, Any]) -> Iterator[Expression]:
    """Yield every expression of a dashboard, those of its annotations too."""
    title = str(dashboard["title"])
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            instant, exemplar = bool(target.get("instant")), bool(target.get("exemplar"))
            yield Expression(title, panel["title"], target["expr"], instant, exemplar)
    for annotation in dashboard["annotations"]["list"]:
        yield Expression(title, f"annotation: {annotation['name']}", annotation["expr"], instant=False, exemplar=False)
