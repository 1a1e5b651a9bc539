"""A person decides in the browser: login, approval, rejection, kill switch; the ledger has each, with name and reason."""

from __future__ import annotations

import json

import pytest

from browser.serving import policy_text, serving, until


def action(page, button: str):
    """Return the form that has a button."""
    return page.locator("form.action").filter(has=page.get_by_role("button", name=button, exact=False))


def decide(page, button: str, reason: str) -> None:
    form = action(page, button)
    form.get_by_label("Reason").fill(reason)
    form.get_by_role("button", name=button).click()
    page.get_by_role("status").get_by_text(button).wait_for()


def said(site, policy: str, event: str) -> set[tuple[str, str]]:
    return {(entry.actor, entry.reason) for entry in site.entries(policy) if entry.event == event}


def test_a_login_is_asked_for_and_a_wrong_token_refused(window, site):
    """Nothing can be decided before; what was wrong is said aloud, and the right one leads back to the page."""
    made = window()
    page = made.go("/policies/kept-results")
    assert page.locator("form.action").count() == 0
    page.get_by_role("link", name="Log in to decide").click()
    page.get_by_label("Your name").fill("maria")
    page.get_by_label("Token").fill("not-the-token-of-this-console")
    page.locator("main").get_by_role("button", name="Log in").click()
    assert "not the token" in page.get_by_role("alert").inner_text()
    # The browser tells of every answer that is no success; this one is meant.
    made.wrong[:] = [what for what in made.wrong if "403" not in what]
    page.get_by_label("Token").fill(site.token)
    page.locator("main").get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="maria · log out").wait_for()
    assert page.url == f"{site.address}/policies/kept-results"
    page.get_by_role("button", name="maria · log out").click()
    page.get_by_role("link", name="Log in", exact=True).wait_for()


def test_an_approval_is_on_the_ledger_and_in_force(window, site):
    """By the form: the name of the login, the reason, the gate; the page says what happened and the snapshot has it."""
    page = window().log_in("maria", "/policies/kept-results")
    decide(page, "Approve", "reads only, and each conversation by itself")
    page.locator("h1").get_by_text("canary-1").wait_for()
    assert said(site, "kept-results", "approve") == {("maria", "reads only, and each conversation by itself")}
    snapshot = json.loads((site.home / "snapshot.json").read_text())
    assert "kept-results" in {decision["policy"] for decision in snapshot["decisions"]}
    page.goto(f"{site.address}/ledger?policy=kept-results&event=approve")
    assert page.get_by_role("row").filter(has_text="maria").count() == 1
    page.goto(f"{site.address}/policies/kept-results")
    decide(page, "Roll back", "a doubt")
    page.locator("h1").get_by_text("rolled back").wait_for()


def test_nobody_approves_what_they_wrote(window, site):
    """The author is refused on the page, and the ledger has no approval."""
    page = window().log_in("search-team", "/policies/short-results")
    form = action(page, "Approve")
    form.get_by_label("Reason").fill("mine")
    form.get_by_role("button", name="Approve").click()
    page.get_by_role("status").get_by_text("may not approve it").wait_for()
    assert said(site, "short-results", "approve") == set()


def test_the_browser_itself_asks_for_a_reason(window, site, maria):
    """An empty reason is not even sent."""
    page = window(storage_state=maria).go("/policies/short-results")
    before = len(site.entries("short-results"))
    action(page, "Reject").get_by_role("button", name="Reject").click()
    assert page.evaluate("document.activeElement.matches('form.action input:invalid')")
    assert len(site.entries("short-results")) == before


@pytest.fixture
def other_site(browser, tmp_path):
    """A console of its own: a kill ends every comparison, which others want to look at."""
    home = tmp_path / "home"
    (home / "policies").mkdir(parents=True)
    (home / "policies" / "reads.yaml").write_text(policy_text("reads", "{type: parallel_tools}"))
    with serving(home, "--every", "0.5") as found:
        yield found


def test_the_kill_switch_goes_off_and_on(window, other_site):
    """Off: the file that agents read is there at once, and every page says so. On again: it is gone."""
    home = other_site.home
    page = window(other_site).log_in("maria", "/")
    page.get_by_role("link", name="Kill switch").click()
    page.get_by_label("Reason").fill("something looks wrong")
    page.get_by_role("button", name="Switch everything off").click()
    page.get_by_text("Everything is switched off").first.wait_for()
    assert (home / "kill").exists()
    page.goto(f"{other_site.address}/runs")
    assert page.get_by_text("Everything is switched off").is_visible()
    page.get_by_role("link", name="All is off").click()
    page.get_by_label("Reason").fill("it was nothing")
    page.get_by_role("button", name="Let it come back").click()
    page.get_by_role("button", name="Switch everything off").wait_for()
    until("the switch's file is gone", lambda: not (home / "kill").exists())
    # The loop beside it may have seen the file first, and says so too.
    assert said(other_site, "*", "kill") >= {("maria", "something looks wrong")}
    assert said(other_site, "*", "unkill") >= {("maria", "it was nothing")}


def test_a_form_without_its_token_is_refused(window, site, maria):
    """A form of the page whose hidden token is changed does nothing; so does one that another page sends."""
    made = window(storage_state=maria)
    page = made.go("/policies/short-results")
    page.evaluate("document.querySelectorAll('input[name=csrf]').forEach(one => { one.value = 'of somebody else' })")
    form = action(page, "Reject")
    form.get_by_label("Reason").fill("forged")
    form.get_by_role("button", name="Reject").click()
    page.get_by_text("this form is not from here or too old").wait_for()
    foreign = made.page.context.new_page()
    foreign.set_content(
        f"<form method=post action='{site.address}/kill/kill'><input name=reason value=forged><button>go</button></form>"
    )
    foreign.get_by_role("button", name="go").click()
    foreign.get_by_text("a page of another site may not ask for this").wait_for()
    assert not (site.home / "kill").exists()
    assert "forged" not in {entry.reason for entry in site.entries("short-results")}
    made.wrong[:] = [what for what in made.wrong if "403" not in what]
