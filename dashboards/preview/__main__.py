"""`python -m dashboards.preview http://127.0.0.1:9090 OUT`: an SVG and a PNG of each dashboard with its real data."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import vl_convert

from dashboards.build import dashboards
from dashboards.preview.picture import picture
from dashboards.preview.result import Prometheus, Window

POINTS = 120


def main() -> None:
    """Draw every dashboard."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("prometheus")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--rate-interval", default="1m")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    prometheus = Prometheus(
        options.prometheus.rstrip("/"), {"service": ".*", "policy": ".*", "__rate_interval": options.rate_interval}
    )
    end = time.time()
    window = Window(end - options.minutes * 60, end, options.minutes * 60 / POINTS)
    for name, dashboard in dashboards().items():
        svg = picture(dashboard, prometheus, window)
        path = options.out / name.replace(".json", ".svg")
        path.write_text(svg, encoding="utf-8")
        path.with_suffix(".png").write_bytes(vl_convert.svg_to_png(svg))
        print(path)  # noqa: T201 - a script that says what it wrote


main()
