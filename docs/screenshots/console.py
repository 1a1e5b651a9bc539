"""Takes the documentation's pictures of the console: a home folder with a past in, docs/images/console-*.png out.

Run it with: python docs/screenshots/console.py [--home FOLDER] [--only PAGE]; it needs Chromium and the package
`playwright`. A home folder that is there already is used as it is, otherwise one is made (minutes).
"""

# ruff: noqa: INP001 - a script beside the documentation

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from shop_home import SECOND, prepared_home

from otel_perfopt.console.console_settings import ConsoleSettings, allowed_hosts
from otel_perfopt.console.server import running_console
from otel_perfopt.loop.snapshot_server import served

IMAGES = Path(__file__).resolve().parents[1] / "images"
PORT = 8771
TOKEN = "only-for-the-pictures-of-the-documentation"  # noqa: S105 - of a server that lives for a minute
WIDE, NARROW = (1240, 860), (380, 760)
MOST_BYTES = 150_000
_PATIENCE_MS = 240_000


def main() -> int:
    """Take every picture."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--home", type=Path)
    asked.add_argument("--only", default="")
    asked.add_argument("--out", type=Path, default=IMAGES)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = given.home or Path(folder) / "home"
        now_ns = _story_end(home) if (home / "ledger.jsonl").exists() else prepared_home(home)
        settings = ConsoleSettings(
            home, TOKEN, hosts=allowed_hosts("127.0.0.1", PORT), every_s=3600.0, analyse_every_s=3600.0, proposes=False
        )
        with running_console(settings, clock=lambda: now_ns) as running, served(running.app, "127.0.0.1", PORT):
            loop = running.desk.loop
            while loop.seen is None or loop.seen.analysis is None:
                loop.look_now(60)
            given.out.mkdir(parents=True, exist_ok=True)
            _pictures(given.out, given.only)
    return 0


def _story_end(home: Path) -> int:
    """Return a moment right after the last thing that happened in a home folder."""
    newest = max((home / "telemetry").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    last = newest.read_bytes().splitlines()[-1]
    ends = [int(part.split(b'"')[1]) for part in last.split(b'endTimeUnixNano": ')[1:]]
    return max(ends) + 30 * SECOND


def _pictures(out: Path, only: str) -> None:
    chromium = os.environ.get("PERFOPT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            context = browser.new_context(color_scheme=theme, viewport={"width": WIDE[0], "height": WIDE[1]})
            page = context.new_page()
            page.set_default_timeout(_PATIENCE_MS)
            places = _places(page)
            for name, place in places.items():
                if only and only not in name:
                    continue
                for width, size in (("wide", WIDE), ("narrow", NARROW)):
                    page.set_viewport_size({"width": size[0], "height": size[1]})
                    _go(page, place)
                    _take(page, out / f"console-{name}-{theme}-{width}.png")
            context.close()
        browser.close()


def _places(page: Page) -> dict[str, str]:
    """Log in and return every page's address."""
    base = f"http://127.0.0.1:{PORT}"
    page.goto(f"{base}/login")
    page.fill("#name", "maria")
    page.fill("#token", TOKEN)
    page.click("main button")
    found = _first(page, f"{base}/findings?acting=yes", ".entries h2 a")
    series = _first(page, f"{base}/findings?kind=change_point&where=everything", ".entries h2 a")
    run = _first(page, f"{base}/runs?command=/policy", "tbody tr a")
    waiting = _first(page, f"{base}/proposals", ".entries li:has-text('approval (') h2 a")
    places = {
        "overview": "/",
        "findings": "/findings",
        "finding": found,
        "series": series,
        "runs": "/runs",
        "run": run,
        "proposals": "/proposals",
        "proposal": waiting,
        "policies": "/policies",
        "rollout": "/policies/shorter-results",
        "taken-back": "/policies/generous-cache",
        "ledger": "/ledger",
        "kill": "/kill",
        "login": "/login",
    }
    return {name: f"{base}{place}" for name, place in places.items() if place}


def _first(page: Page, place: str, selector: str) -> str | None:
    """Return where the first such link of a page leads; None where there is none."""
    page.goto(place)
    links = page.locator(selector)
    return links.first.get_attribute("href") if links.count() else None


def _go(page: Page, place: str) -> None:
    page.goto(place)
    if "/policies/" in place:
        # A plan is worked out beside everything else; the page is loaded again when it is there.
        for _ in range(100):
            if page.get_by_text("It is being worked out").count() == 0:
                break
            page.wait_for_timeout(1000)
            page.reload()


def _take(page: Page, path: Path) -> None:
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if overflow > 0:
        sys.stderr.write(f"{path.name} overflows by {overflow} px\n")
    height = min(2600, page.evaluate("document.documentElement.scrollHeight"))
    page.screenshot(
        path=path, clip={"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}, full_page=True
    )
    _shrink(path)


def _shrink(path: Path) -> None:
    """Keep a picture small: fewer colours, and a smaller one where that is not enough."""
    picture = Image.open(path).convert("RGB")
    for colours in (128, 64, 32):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return
    while path.stat().st_size > MOST_BYTES:
        picture = picture.crop((0, 0, picture.width, int(picture.height * 0.85)))
        picture.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
