"""The report as one self-contained HTML page: an `Analysis` in, the page's text out; no script, no outside address."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache

from jinja2 import Environment, PackageLoader, Template, select_autoescape
from markupsafe import Markup, escape

from otel_perfopt import __version__
from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.report.section import Chart, Section
from otel_perfopt.report.sections import report_sections

_NAMES_OF_MARKS = re.compile(r' (?:role|aria-[a-z]+)="[^"]*"')
_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]")


def report_html(
    analysis: Analysis,
    *,
    title: str = "What your agents do",
    made_at: datetime | None = None,
    further: Sequence[Section] = (),
    last: Sequence[Section] = (),
) -> str:
    """Return the whole page; `further` parts, such as those on policies, come after the overview, `last` ones at the end."""
    first, *others = report_sections(analysis)
    moment = made_at or datetime.now(tz=timezone.utc)
    return _template().render(
        title=title,
        made_at=moment.strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        sections=(first, *further, *others, *last),
        svg=_svg,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("otel_perfopt.report"), autoescape=select_autoescape(default=True), trim_blocks=True
    )
    return environment.get_template("page.html")


def _svg(chart: Chart) -> Markup:
    # The renderer starts a script engine (0.5 s), so only a page with charts pays for it.
    import vl_convert  # noqa: PLC0415

    # It cuts long labels between the halves of a surrogate pair, and fails.
    specification = _BEYOND_BMP.sub("□", json.dumps(chart.specification, ensure_ascii=False))
    drawn = vl_convert.vegalite_to_svg(specification)
    # A picture with one name: the hundreds of marks that the renderer names are nothing to listen to.
    quiet = _NAMES_OF_MARKS.sub("", drawn)
    named = quiet.replace("<svg ", f'<svg role="img" aria-label="{escape(chart.description)}" ', 1)
    # Safe: the renderer escapes every text it draws.
    return Markup(named)  # noqa: S704
