"""Every page of the console in a real browser: it opens, errs nowhere, asks nobody else, and fits where it is shown."""

from __future__ import annotations

import pytest

from browser.conftest import NARROW

PAGES = (
    "overview", "findings", "finding", "runs", "run", "proposals", "policies", "rollout", "proposal", "ledger", "kill", "login",
)  # fmt: skip
# The rules of WCAG 2.2 AA that a program can check, contrast of text included, and what axe holds for good practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Names of what is pressed or filled and is smaller than WCAG 2.2 allows.
SMALL = """() => [...document.querySelectorAll('header a, button, input:not([type=hidden]), select')]
    .filter(one => one.offsetParent).map(one => [one.textContent || one.name, one.getBoundingClientRect()])
    .filter(([, box]) => box.height < 24 || box.width < 24).map(([name]) => name.trim())"""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def background(page) -> float:
    """Return how light the page's ground is, 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in colour.strip("rgba()").split(",")[:3]) / 3


def problems(page, axe, rules) -> list[str]:
    page.evaluate(f"window.axe || (() => {{ {axe} }})()")
    asked = {"runOnly": rules, "resultTypes": ["violations"], "elementRef": False}
    found = page.evaluate("asked => axe.run(document, asked)", asked)["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_and_everybody_can_use_it(window, places, axe, maria, name):
    """No error, no other host, no rule of WCAG 2.2 AA broken in light; in dark its contrast; on a phone it fits."""
    page = window(color_scheme="light", storage_state=None if name == "login" else maria).go(places[name])
    assert page.locator("h1").count() == 1
    assert problems(page, axe, {"type": "tag", "values": RULES}) == []
    assert background(page) > 128
    page.emulate_media(color_scheme="dark")
    assert background(page) < 128
    assert problems(page, axe, {"type": "rule", "values": ["color-contrast"]}) == []
    page.set_viewport_size(NARROW)
    assert page.evaluate(SIDEWAYS) <= 0
    small = page.evaluate(SMALL)
    assert set(small) <= {"Skip to the content"}


def test_somebody_prefers_other_colours_than_the_system(window, maria):
    """The button asks for the other ones than are shown, and the choice stays."""
    for scheme, other in (("light", "Dark"), ("dark", "Light")):
        page = window(color_scheme=scheme, storage_state=maria).go("/kill")
        page.get_by_role("button", name=other).click()
        page.locator("html[data-theme]").wait_for()
        assert (background(page) > 128) == (scheme == "dark")
        page.reload()
        assert (background(page) > 128) == (scheme == "dark")


def test_without_scripts_everything_is_there(window, places):
    """With JavaScript off a person logs in, sees every page and decides."""
    made = window(java_script_enabled=False)
    made.log_in("maria", "/policies")
    for name in PAGES:
        if name != "login":
            assert made.go(places[name]).locator("h1").count() == 1
            assert made.page.get_by_role("button", name="maria · log out").is_visible()


def test_what_changes_renews_itself_and_leaves_a_person_in_peace(window, places, maria):
    """The overview shows the loop's next turns without a reload; a field that somebody fills stays as it is."""
    busy = window(storage_state=maria)
    reason = busy.go(places["proposal"]).locator("form.action input[name=reason]").first
    reason.fill("half a sentence")
    renewed = []
    busy.page.on("request", lambda request: renewed.append(request.url))
    page = window(storage_state=maria).go("/")
    before = page.locator("dl.health dd").first.inner_text()
    page.wait_for_function("before => document.querySelector('dl.health dd').innerText !== before", arg=before)
    # Opened before the other one, so its time to renew itself has come as well.
    assert renewed == []
    assert reason.input_value() == "half a sentence"


def test_what_is_drawn_is_seen(window, places, maria):
    """The roll-out's interval, the run's waterfall and critical path and the finding's evidence have a size and words."""
    made = window(storage_state=maria)
    page = made.go(places["rollout"])
    chart = page.locator("svg.interval").first
    assert chart.bounding_box()["width"] > 300
    assert chart.locator(".band").bounding_box()["height"] > 5
    assert "units" in chart.locator("desc").text_content()
    page = made.go(places["run"])
    assert page.locator("tr[id^=step-]").count() > 5
    drawn = [box.bounding_box() for box in page.locator(".timeline .critical").all()]
    assert drawn
    assert all(box["width"] >= 0.5 and box["height"] >= 2 for box in drawn)
    page = made.go(places["finding"])
    page.locator("#evidence ~ ul a").first.click()
    page.wait_for_url("**/runs/**")
    assert page.locator("tr.marked, tr[id^=step-]").count() > 1
