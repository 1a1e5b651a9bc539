"""One step on a run's line of time: a bar and the run's length in, a drawing for a table's cell out."""

from __future__ import annotations

from markupsafe import Markup

from otel_perfopt.analyse.analysis import Bar
from otel_perfopt.console.drawing.svg import box, element

_WIDTH, _HEIGHT = 400, 14


def timeline(bar: Bar, duration_s: float) -> Markup:
    """Return the step's bar with its parts on the critical path underlined; silent, since the table says its times."""
    scale = _WIDTH / duration_s if duration_s > 0 else 0.0
    kind = "person" if bar.waiting else str(bar.kind)
    parts = [box(bar.start_s * scale, 1, (bar.end_s - bar.start_s) * scale, 8, f"step {kind}")]
    parts += [box(start * scale, 10, (end - start) * scale, 3, "critical") for start, end in bar.critical]
    return element(
        "svg",
        *parts,
        class_="timeline",
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
