"""One console on the example agent's home, and one browser that looks at it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from browser.chromium import axe_source, chromium_path, running_browser
from browser.serving import Serving, policy_text, serving, until
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.publish import publish
from otel_perfopt.demo.fleet import Fleet, backends
from otel_perfopt.measure.home_prices import PRICES_FILE

WIDE, NARROW = {"width": 1240, "height": 860}, {"width": 360, "height": 740}
# Conversations before anybody looks: enough for findings and for an interval to draw.
_COMMANDS = 90


def pytest_collection_modifyitems(config, items):
    """Everything in this folder is of the browser."""
    config.addinivalue_line("markers", "browser: a real Chromium looks at the console")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """`perfopt serve` on a home that the example agent filled; one roll-out is under way, two policies wait."""
    chromium_path()
    folder = tmp_path_factory.mktemp("browser")
    home = folder / "home"
    (home / "policies").mkdir(parents=True)
    prices = {"as_of": "example", "models": {"support-model": {"input": 1.0, "output": 4.0, "cache_read": 0.1}}}
    (home / PRICES_FILE).write_text(json.dumps(prices))
    for name, optimize in (
        ("parallel-reads", "{type: parallel_tools}"),
        ("kept-results", "{type: tool_cache, with: {ttl: 5m, scope: conversation}}"),
        ("short-results", "{type: context_compression}"),
    ):
        (home / "policies" / f"{name}.yaml").write_text(policy_text(name, optimize))
    policies = PolicySet.open(home, time.time_ns())
    policies.approve("parallel-reads", "jonas", "reads only", time.time_ns(), "canary")
    policies.advance({}, time.time_ns())
    publish(policies, time.time_ns())
    with serving(home, "--every", "0.5", "--analyze-every", "8", "--no-propose") as found:
        with backends(folder / "shop") as backend, Fleet(home, backend, folder).traffic() as traffic:
            until("commands of the example agent", lambda: traffic.check() or len(traffic.outcomes()) >= _COMMANDS)
        yield found


@pytest.fixture(scope="module")
def browser():
    # Of a file, and no longer: while the browser's driver is open an event loop runs in this thread, and tests of
    # other files that come in between could run none of their own.
    with running_browser() as found:
        yield found


@pytest.fixture(scope="session")
def remembered():
    """Return what one file's browser found out, for the next one's."""
    return {}


@dataclass
class Window:
    """One page of a browser, and everything that went wrong in it."""

    page: object
    site: Serving
    wrong: list[str]

    def go(self, path: str):
        self.page.goto(f"{self.site.address}{path}")
        return self.page

    def log_in(self, name: str = "maria", path: str = "/"):
        self.go(f"/login?next={path}")
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Token").fill(self.site.token)
        self.page.locator("main").get_by_role("button", name="Log in").click()
        # The address of the login names the next page too; who is logged in is told by the frame alone.
        self.page.get_by_role("button", name=f"{name} · log out").wait_for()
        return self.page


@pytest.fixture
def window(browser, request):
    """Return a maker of windows; whatever errs in one, or asks another host, is an error of the test."""
    opened = []

    def open_window(at: Serving | None = None, **options) -> Window:
        site = at or request.getfixturevalue("site")
        context = browser.new_context(viewport=options.pop("viewport", WIDE), **options)
        context.set_default_timeout(30_000)
        made = Window(context.new_page(), site, [])
        here = urlsplit(site.address).netloc

        def asked(request):
            if urlsplit(request.url).netloc not in {here, ""}:
                made.wrong.append(f"asks another host: {request.url}")

        def failed(request):
            # Whoever leaves a page before all of it is there ends what is under way.
            if request.failure != "net::ERR_ABORTED":
                made.wrong.append(f"failed: {request.url} {request.failure}")

        made.page.on("console", lambda said: said.type == "error" and made.wrong.append(f"console: {said.text}"))
        made.page.on("pageerror", lambda error: made.wrong.append(f"error: {error}"))
        made.page.on("request", asked)
        made.page.on("requestfailed", failed)
        opened.append((context, made))
        return made

    yield open_window
    wrong = [what for _, made in opened for what in made.wrong]
    for context, _ in opened:
        context.close()
    assert not wrong


@pytest.fixture(scope="module")
def places(browser, site, remembered):
    """Return every page's path by its name, those of one finding, run and policy included."""
    if "places" not in remembered:
        remembered["places"] = _places(browser, site)
    return remembered["places"]


def _places(browser, site):
    context = browser.new_context()
    page = context.new_page()

    def first(path: str, selector: str) -> str:
        def look():
            page.goto(f"{site.address}{path}")
            links = page.locator(selector)
            return links.count() and links.first.get_attribute("href")

        return str(until(f"{selector} at {path}", look, every_s=0.5))

    found = {
        "overview": "/",
        "findings": "/findings",
        "finding": first("/findings?acting=yes", ".entries h2 a"),
        "runs": "/runs",
        "run": first("/runs", "tbody a"),
        "proposals": "/proposals",
        "policies": "/policies",
        "rollout": "/policies/parallel-reads",
        "proposal": "/policies/short-results",
        "ledger": "/ledger",
        "kill": "/kill",
        "login": "/login",
    }
    context.close()
    return found


@pytest.fixture(scope="module")
def maria(browser, site, remembered):
    """Return the session of somebody who logged in, for windows that need no login of their own."""
    if "maria" not in remembered:
        remembered["maria"] = _logged_in(browser, site)
    return remembered["maria"]


def _logged_in(browser, site):
    context = browser.new_context()
    Window(context.new_page(), site, []).log_in("maria")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(scope="session")
def axe():
    return axe_source()
