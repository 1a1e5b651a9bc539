"""Takes the documentation's pictures of the console and the report: a home folder with a past in, docs/images/*.png out.

Run it with: python docs/screenshots/console.py [--home FOLDER] [--only PAGE] [--every]; it needs Chromium and the
packages `playwright` and `pillow`. A home folder that is there already is used as it is, otherwise one is made
(minutes). Every page is taken in light and wide; with --every also in dark and as on a phone, as some always are.
"""

# ruff: noqa: INP001 - a script beside the documentation

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from shop_home import SECOND, prepared_home

from otel_perfopt.analyse.analysis import Analysis
from otel_perfopt.console.console_settings import ConsoleSettings, allowed_hosts
from otel_perfopt.console.server import running_console
from otel_perfopt.loop.snapshot_server import served
from otel_perfopt.report.home_sections import home_sections
from otel_perfopt.report.home_view import HomeWatch
from otel_perfopt.report.html import report_html

IMAGES = Path(__file__).resolve().parents[1] / "images"
PORT = 8771
TOKEN = "only-for-the-pictures-of-the-documentation"  # noqa: S105 - of a server that lives for a minute
LOOKS = {"": ("light", 1240, 860), "-dark": ("dark", 1240, 860), "-phone": ("light", 380, 760)}
# Pages that the documentation shows in dark and as on a phone too.
ALSO = {"-dark": {"overview", "rollout", "run"}, "-phone": {"overview", "rollout", "proposals", "finding"}}
HIGHEST = {"-phone": 1500}
MOST_BYTES, HIGH = 140_000, 1900
_PATIENCE_MS = 240_000


def main() -> int:
    """Take every picture."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--home", type=Path)
    asked.add_argument("--only", default="")
    asked.add_argument("--every", action="store_true")
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
            report = Path(folder) / "report.html"
            _write_report(home, now_ns, loop.seen.analysis, report)
            _pictures(given.out, given.only, report, every=given.every)
    return 0


def _write_report(home: Path, now_ns: int, analysis: Analysis, path: Path) -> None:
    first, last = home_sections(HomeWatch(home).look(now_ns))
    made_at = datetime.fromtimestamp(now_ns / 1e9, tz=timezone.utc)
    path.write_text(report_html(analysis, made_at=made_at, further=first, last=last), encoding="utf-8")


def _story_end(home: Path) -> int:
    """Return a moment right after the last thing that happened in a home folder."""
    newest = max((home / "telemetry").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    last = newest.read_bytes().splitlines()[-1]
    ends = [int(part.split(b'"')[1]) for part in last.split(b'endTimeUnixNano": ')[1:]]
    return max(ends) + 30 * SECOND


def _pictures(out: Path, only: str, report: Path, *, every: bool) -> None:
    chromium = os.environ.get("PERFOPT_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        places = {**_places(page), "report": report.as_uri()}
        for look, (scheme, width, height) in LOOKS.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": height})
            for name, place in places.items():
                if only in name and (every or not look or name in ALSO[look]):
                    _go(page, place)
                    _take(
                        page, out / f"{'' if name == 'report' else 'console-'}{name}{look}.png", HIGHEST.get(look, HIGH)
                    )
        browser.close()


def _places(page: Page) -> dict[str, str]:
    """Log in and return every page's address."""
    base = f"http://127.0.0.1:{PORT}"
    page.goto(f"{base}/login")
    page.fill("#name", "maria")
    page.fill("#token", TOKEN)
    page.click("main button")
    found = _first(page, f"{base}/findings?acting=yes", ".entries h2 a")
    series = _first(page, f"{base}/findings?kind=change_point&where=mean+run+time", ".entries h2 a")
    run = _first(page, f"{base}/runs?command=/policy", "tbody tr a")
    waiting = _first(page, f"{base}/proposals", ".entries li:has-text('approval (') h2 a")
    _wait_for_plans(page, f"{base}{waiting}")
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
        _wait_for_plans(page, place)


def _wait_for_plans(page: Page, place: str) -> None:
    """Load a policy's page again until its plan, which is worked out beside everything else, is there."""
    page.goto(place)
    for _ in range(200):
        if page.get_by_text("It is being worked out").count() == 0:
            return
        page.wait_for_timeout(1000)
        page.reload()


def _take(page: Page, path: Path, highest: int) -> None:
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if overflow > 0:
        sys.stderr.write(f"{path.name} overflows by {overflow} px\n")
    height = min(highest, page.evaluate("document.documentElement.scrollHeight"))
    page.screenshot(
        path=path, clip={"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}, full_page=True
    )
    _shrink(path)


def _shrink(path: Path) -> None:
    """Keep a picture small: its most frequent colours as they are, and a shorter one where that is not enough."""
    picture = Image.open(path).convert("RGB")
    while True:
        for colours in (256, 128, 64):
            palette = Image.new("P", (1, 1))
            found = sorted(picture.getcolors(1 << 24), reverse=True)[:colours]
            palette.putpalette([part for _, colour in found for part in colour])
            picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size <= MOST_BYTES:
                return
        picture = picture.crop((0, 0, picture.width, int(picture.height * 0.85)))


if __name__ == "__main__":
    sys.exit(main())
