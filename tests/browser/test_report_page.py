"""The report in the same browser: nothing from elsewhere, everybody can read it, and it prints."""

from __future__ import annotations

import subprocess
import sys

import pytest

from browser.conftest import NARROW, WIDE
from browser.test_every_page import RULES, SIDEWAYS, background, problems


@pytest.fixture(scope="module")
def report(site, tmp_path_factory):
    """Write the report on what the console's agents did, as a person would."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    command = [sys.executable, "-m", "otel_perfopt.cli.main", "report", "--home", str(site.home), "--out", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return path


def test_the_report_is_for_everybody(browser, report, axe):
    """In light and dark, wide and narrow: no request, no error, no rule of WCAG 2.2 AA broken."""
    context = browser.new_context(viewport=WIDE, color_scheme="light")
    page, wrong = context.new_page(), []
    page.on("request", lambda asked: asked.url.startswith("file:") or wrong.append(asked.url))
    page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
    page.goto(report.as_uri())
    assert problems(page, axe, {"type": "tag", "values": RULES}) == []
    assert background(page) > 128
    page.emulate_media(color_scheme="dark")
    assert background(page) < 128
    assert problems(page, axe, {"type": "rule", "values": ["color-contrast"]}) == []
    page.set_viewport_size(NARROW)
    assert page.evaluate(SIDEWAYS) <= 0
    context.close()
    assert not wrong


def test_the_report_prints(browser, report):
    """On paper: dark on white whatever the screen likes, no navigation, no cut table, what is folded unfolded."""
    context = browser.new_context(viewport={"width": 794, "height": 1123}, color_scheme="dark")
    page = context.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert background(page) > 250
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(22, 32, 44)"
    assert not page.locator("nav").is_visible()
    cut = page.evaluate(
        "() => [...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1).length"
    )
    assert cut == 0
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") <= 40
    context.close()
