"""A console whose policies cannot be read goes on: it says which file is wrong where, and guards what is in force."""

from __future__ import annotations

import re

from console_parts import POLICY, console

from otel_perfopt.console.trace_lines import recorded_run


def plain(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_broken_file_is_named_with_its_line_and_the_rest_goes_on(home):
    """The other policies are shown and can be decided on; the broken one stands on the pages with line and column."""
    (home / "policies" / "broken.yaml").write_text(POLICY.replace("name: cache", "name: broken").replace("60", "many"))
    with console(home) as visitor:
        for path in ("/policies", "/proposals", "/"):
            text = plain(visitor.get(path).text)
            assert re.search(r"broken\.yaml:\d+:\d+: spec\.rollout\.limits\.minUnits", text), path
        assert "cache" in plain(visitor.get("/policies").text)
        visitor.log_in()
        visitor.send("/policies/cache/approve", gate="canary", reason="reads only")
        assert "canary-1" in visitor.get("/policies/cache").text


def test_a_policy_that_breaks_while_it_is_in_force_stays_as_it_was(home):
    """Its last good version goes on, and the page says so."""
    with console(home) as visitor:
        visitor.log_in()
        visitor.send("/policies/cache/approve", gate="canary", reason="reads only")
        (home / "policies" / "cache.yaml").write_text("spec: [\n")
        visitor.desk.loop.look_now(20)
        assert "the last good version stays in force: cache" in plain(visitor.get("/policies").text)
        assert "canary-1" in visitor.get("/policies/cache").text


def test_an_empty_home_says_what_to_do(tmp_path):
    """Each page without anything to show says how something comes there."""
    home = tmp_path / "home"
    home.mkdir()
    with console(home) as visitor:
        for path, words in {
            "/": "Once there is telemetry",
            "/findings": "perfopt run",
            "/runs": "No finished run was read yet",
            "/proposals": "Nothing waits",
            "/policies": "No policies in this home folder yet",
            "/ledger": "Nothing was decided yet",
            "/kill": "No policy is in force",
        }.items():
            assert words in plain(visitor.get(path).text), path


def test_an_old_run_opens_by_its_traces_id(past, shop):
    """The list has the newest 400 and says so; any other finished run is read from the telemetry on demand."""
    home, _ = past
    text = plain(shop.get("/runs").text)
    assert "Only the newest 400 runs are listed" in text
    listed = re.findall(r'href="/runs/([0-9a-f]{32})', shop.get("/runs").text)
    older = shop.get("/runs?from=350").text
    assert len(listed) == 50
    assert not set(listed) & set(re.findall(r'href="/runs/([0-9a-f]{32})', older))
    assert "Newer" in older
    first = (home / "telemetry" / "shop-history.jsonl").read_text().split('"traceId": "')[1][:32]
    assert shop.desk.runs.find(first) is None
    led = shop.get(f"/runs?trace={first}")
    assert (led.status_code, led.headers["location"]) == (303, f"/runs/{first}")
    page = shop.get(f"/runs/{first}").text
    assert page.count('<tr id="step-') == len(recorded_run(home, first).steps) + 1
    for wrong in ("f" * 32, "..%2Fledger", "%00", "a" * 300):
        assert shop.get(f"/runs/{wrong}").status_code == 404
    assert shop.get("/runs?trace=//evil.example").headers["location"] == "/runs/%2F%2Fevil.example"
