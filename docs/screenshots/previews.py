"""Takes the documentation's pictures of the dashboards: nothing in, docs/images/dashboard-*.png out.

Run it with: python docs/screenshots/previews.py [--out FOLDER]; it needs a Prometheus on this machine and the package
`pillow`. Grafana is not needed: `dashboards.preview` asks Prometheus what each panel asks and draws it in the same places.
"""

# ruff: noqa: INP001 - a script beside the documentation

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
# The scene that the dashboards' own tests play: example agents and a controller that tell a real Prometheus.
for folder in (ROOT, ROOT / "tests" / "dashboards", ROOT / "tests" / "loop"):
    sys.path.insert(0, str(folder))

from live_prometheus import running_prometheus, way_here  # noqa: E402 - after the path
from scene import scene  # noqa: E402 - the same

MINUTES = 3.0
MOST_BYTES = 140_000
WIDEST = 1240


def main() -> int:
    """Take every picture."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    out = asked.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    way, why = way_here()
    if way is None:
        sys.stderr.write(f"{why}\n")
        return 1
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        prometheus = stack.enter_context(running_prometheus(way, folder / "prometheus"))
        stack.enter_context(scene(prometheus, folder))
        time.sleep(60 * (MINUTES - 1))
        command = [sys.executable, "-m", "dashboards.preview", prometheus.url, str(folder), "--minutes", str(MINUTES)]
        subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603 - our own module
        for picture in sorted(folder.glob("*.png")):
            _shrink(picture, out / f"dashboard-{picture.name}")
    return 0


def _shrink(source: Path, path: Path) -> None:
    picture = Image.open(source).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    for colours in (256, 128, 64, 32):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return


if __name__ == "__main__":
    sys.exit(main())
