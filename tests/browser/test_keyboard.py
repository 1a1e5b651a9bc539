"""The console by keyboard and by what a screen reader is told: order, focus that is seen, landmarks, names."""

from __future__ import annotations

FOCUSED = """() => { const one = document.activeElement, style = getComputedStyle(one);
    return { name: (one.innerText || one.getAttribute('aria-label') || one.name || '').trim(), tag: one.tagName,
             outline: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
             top: one.getBoundingClientRect().top, seen: one.getBoundingClientRect().width > 0 }; }"""


def tab(page):
    page.keyboard.press("Tab")
    return page.evaluate(FOCUSED)


def test_the_first_key_leads_past_the_navigation(window):
    """The first stop is the skip link, which is seen then; Enter goes to the content."""
    page = window().go("/policies")
    first = tab(page)
    assert first["name"] == "Skip to the content"
    assert first["top"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.evaluate("location.hash") == "#main"
    assert "parallel-reads" in [tab(page)["name"] for _ in range(3)]


def test_the_order_of_the_tab_key_is_the_order_of_the_page(window, maria):
    """Navigation, kill switch, the person, then the content; whatever has the focus is seen to have it."""
    page = window(storage_state=maria).go("/policies/parallel-reads")
    stops = [tab(page) for _ in range(24)]
    names = [stop["name"] for stop in stops]
    pages = ["Overview", "Findings", "Runs", "Proposals", "Policies", "Ledger"]
    assert names[:9] == ["Skip to the content", "perfopt", *pages, "Kill switch"]
    assert names.index("maria · log out") < names.index("reason")
    assert all(stop["outline"] and stop["seen"] for stop in stops), [one for one in stops if not one["outline"]]
    assert all(stop["tag"] in {"A", "BUTTON", "INPUT", "SELECT", "SUMMARY", "DIV", "PRE"} for stop in stops)


def test_a_person_decides_without_a_mouse(window, site):
    """Login, reason and rejection with nothing but keys."""
    page = window().go("/login?next=/policies/short-results")
    page.get_by_label("Your name").focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("jonas")
    page.keyboard.press("Tab")
    page.keyboard.type(site.token)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="jonas · log out").wait_for()
    for _ in range(60):
        tab(page)
        if page.evaluate("document.activeElement.id") == "reason-reject":
            break
    page.keyboard.type("not now")
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("Reject").wait_for()
    found = {(entry.actor, entry.reason) for entry in site.entries("short-results") if entry.event == "reject"}
    assert found == {("jonas", "not now")}
    form = page.locator("form.action").filter(has=page.get_by_role("button", name="Retry"))
    if form.count():
        form.get_by_label("Reason").fill("looked at again")
        page.keyboard.press("Enter")
        page.get_by_role("status").get_by_text("Retry").wait_for()


def test_a_screen_reader_is_told_where_everything_is(window, places, maria):
    """One banner, one main part, one set of pages with the present one named; drawings are pictures with words."""
    page = window(storage_state=maria).go(places["rollout"])
    assert page.get_by_role("banner").count() == 1
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("contentinfo").count() == 1
    navigation = page.get_by_role("navigation", name="Pages")
    assert navigation.locator("[aria-current=page]").inner_text() == "Policies"
    assert page.locator("html").get_attribute("lang") == "en"
    for name in ("Decide", "The comparison", "Plan", "Declaration", "What happened to it"):
        assert page.get_by_role("region", name=name).count() == 1
    drawing = page.get_by_role("img", name="latency").first
    assert "It may be looked at any time" in drawing.locator("desc").text_content()
    assert page.get_by_role("list", name="Life").locator("[aria-current=step]").count() == 1
    # The name of a button says of which policy it speaks.
    assert page.get_by_role("button", name="Roll back parallel-reads").count() == 1
