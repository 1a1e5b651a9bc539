"""How drawings are written: shapes in, escaped SVG markup out; no style attribute, so that a strict page may show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from markupsafe import Markup, escape

from otel_perfopt.report.printable import printable

_numbers = count(1)
Point = tuple[float, float]


def element(name: str, /, *inside: Markup | str, **attributes: object) -> Markup:
    """Return one element; `class_` is `class`, and underscores in names are hyphens."""
    said = Markup("").join(
        Markup(' {}="{}"').format(_attribute(key), _number(value))
        for key, value in attributes.items()
        if value is not None
    )
    content = Markup("").join(escape(printable(part) if type(part) is str else part) for part in inside)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, content)  # noqa: S704 - names are ours


def drawing(size: tuple[int, int], title: str, description: str, parts: Iterable[Markup], class_: str) -> Markup:
    """Return a drawing that scales with the page; title and description are read aloud in its place."""
    number = next(_numbers)
    title_id, description_id = f"drawing-{number}-title", f"drawing-{number}-text"
    return element(
        "svg",
        element("title", title, id=title_id),
        element("desc", description, id=description_id),
        *parts,
        class_=f"drawing {class_}",
        viewBox=f"0 0 {size[0]} {size[1]}",
        role="img",
        aria_labelledby=f"{title_id} {description_id}",
    )


def path(points: Sequence[Point], class_: str) -> Markup:
    """Return a line through points."""
    return element("polyline", points=_points(points), class_=class_)


def area(points: Sequence[Point], class_: str) -> Markup:
    """Return a filled shape."""
    return element("polygon", points=_points(points), class_=class_)


def line(start: Point, end: Point, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def text(at: Point, said: str, class_: str = "tick", anchor: str = "start") -> Markup:
    """Return a label."""
    return element("text", said, x=at[0], y=at[1], class_=class_, text_anchor=anchor)


def box(x: float, y: float, width: float, height: float, class_: str) -> Markup:
    """Return a rectangle; what would be too thin to see is as wide as can be seen."""
    return element("rect", x=x, y=y, width=max(width, 0.6), height=height, class_=class_)


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _attribute(name: str) -> str:
    if name in {"viewBox", "preserveAspectRatio"}:
        return name
    return name.rstrip("_").replace("_", "-")


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
