"""How a page is made: a template's name and values in, HTML out; whole, or only what changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from otel_perfopt import __version__
from otel_perfopt.console.drawing.share_bars import share_bar
from otel_perfopt.report import wording
from otel_perfopt.report.policy_plan import days_text
from otel_perfopt.report.printable import printable

THEME_COOKIE = "perfopt_theme"
THEMES = ("light", "dark")
FRAGMENT_HEADER = "x-perfopt-fragment"
NAVIGATION = (
    ("/", "Overview"),
    ("/findings", "Findings"),
    ("/runs", "Runs"),
    ("/proposals", "Proposals"),
    ("/policies", "Policies"),
    ("/ledger", "Ledger"),
)


def signed(text: str) -> str:
    """Return a change as verdicts write theirs: with a real minus before a number, not a hyphen."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def words(name: object) -> str:
    """Return an identifier as people read it."""
    return str(name).replace("_", " ")


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "seconds": wording.seconds,
    "count": wording.count,
    "share": wording.share,
    "interval": wording.share_interval,
    "moment": wording.moment,
    "clock": wording.clock,
    "digest": wording.digest,
    "days": days_text,
    "bar": share_bar,
    "signed": signed,
    "words": words,
}


class View:
    """The console's templates."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("otel_perfopt.console"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            # Names come from telemetry: what would command a screen is shown, not done.
            finalize=lambda value: printable(value) if type(value) is str else value,
        )
        self._environment.filters.update(_FILTERS)
        self._environment.globals.update(navigation=NAVIGATION, version=__version__)

    def page(self, request: Request, template: str, status_code: int = 200, **values: Any) -> Response:
        """Return a page; where only what changes is asked for, only that."""
        fragment = FRAGMENT_HEADER in request.headers
        path = request.url.path
        here = next((place for place, _ in NAVIGATION[1:] if path.startswith(place)), "/" if path == "/" else "")
        theme = request.cookies.get(THEME_COOKIE, "")
        html = self._environment.get_template(template).render(
            layout="fragment.html" if fragment else "page.html",
            theme=theme if theme in THEMES else "",
            path=path,
            here=here,
            **values,
        )
        return HTMLResponse(html, status_code)
