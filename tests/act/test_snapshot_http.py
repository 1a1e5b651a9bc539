"""What is in force in a fleet: real HTTP on this machine, good replies and every kind of bad one."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from governed import Agent, decision, snapshot

from otel_perfopt.act.runtime import Runtime, install
from otel_perfopt.act.snapshot_http import MOST_BACKOFF_S, HttpSource, source_of, token_reader
from otel_perfopt.act.snapshot_source import FileSource
from otel_perfopt.decide.decision import SNAPSHOT_AGE_HEADER
from otel_perfopt.loop.snapshot_server import served, snapshot_app
from otel_perfopt.settings import AgentSettings

TOKEN = "0123456789abcdef0123"


@contextmanager
def replying(*replies):
    """Serve (status, headers, body) one after the other, the last one for ever; yields the address and what was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(dict(self.headers))
            status, headers, body = replies[min(len(asked), len(replies)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304 and "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/snapshot", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def good(*decisions, age_s=0.0, **changes):
    body = snapshot(*(decisions or (decision(),)), **changes).to_json().encode()
    return 200, {"Content-Type": "application/json", "ETag": '"one"', SNAPSHOT_AGE_HEADER: str(age_s)}, body


@pytest.fixture
def source_at(tmp_path):
    made = []

    def make(url, **changes):
        source = HttpSource(url, tmp_path, poll_s=60, fetch_s=60, **changes)
        # Threads are for the tests of threads; here each look is asked for.
        source._ensure_thread = lambda: None
        made.append(source)
        return source

    yield make
    for source in made:
        source.close()


def policies(source):
    return [rule.decision.policy for rule in source.current().plan.rules]


def test_a_reply_is_followed_and_the_same_again_is_not_sent(source_at):
    """The second request names the ETag; a 304 keeps the plan object and renews the lease."""
    again = (304, {"ETag": '"one"', SNAPSHOT_AGE_HEADER: "1.5"}, b"")
    with replying(good(lease_s=60.0), again) as (url, asked):
        source = source_at(url, token=lambda: TOKEN)
        source.fetch()
        plan, expires_ns = source.current().plan, source.current().expires_ns
        assert policies(source) == ["tool-cache-policy"]
        time.sleep(0.02)
        before_ns = time.time_ns()
        source.fetch()
    assert asked[0]["Authorization"] == f"Bearer {TOKEN}"
    assert "If-None-Match" not in asked[0]
    assert asked[1]["If-None-Match"] == '"one"'
    assert source.current().plan is plan
    assert source.current().expires_ns != expires_ns
    assert source.current().expires_ns == pytest.approx(before_ns + 58.5e9, abs=2e9)


def test_a_clock_that_disagrees_makes_no_lease_longer_or_shorter(source_at):
    """The age of the document counts, not the controller's idea of the time."""
    with replying(good(generated_at_ns=5, lease_s=60.0, age_s=20.0)) as (url, _):
        source = source_at(url)
        source.fetch()
    assert source.current().expires_ns == pytest.approx(time.time_ns() + 40e9, abs=2e9)


def test_without_an_age_the_document_speaks_for_itself(source_at):
    """A plain web server with the file serves too; then clocks must agree, as with a shared folder."""
    status, headers, body = good(lease_s=60.0)
    del headers[SNAPSHOT_AGE_HEADER]
    with replying((status, headers, body)) as (url, _):
        source = source_at(url)
        source.fetch()
    assert source.current().expires_ns == pytest.approx(time.time_ns() + 60e9, abs=2e9)


JSON = {"Content-Type": "application/json"}
BAD = {
    "no JSON": (200, JSON, b"{", "corrupt"),
    "no UTF-8": (200, JSON, b"\xff\xfe", "corrupt"),
    "another version": (200, JSON, b'{"version": 2}', "corrupt"),
    "a lease that is no number": (200, JSON, good()[2].replace(b"3600.0", b'"NaN"'), "corrupt"),
    "a page of somebody else": (200, {"Content-Type": "text/html"}, b"<html>", "foreign"),
    "an older controller": (*good(decision(policy="old"), generation=0)[:3], "foreign"),
    "elsewhere": (302, {"Location": "http://127.0.0.1:1/"}, b"", "status_302"),
    "who are you": (401, {}, b"", "status_401"),
    "broken": (500, {}, b"oh", "status_500"),
    "too much": (200, JSON, b" " * ((4 << 20) + 1), "oversized"),
    "cut off": (200, {**JSON, "Content-Length": "99999"}, good()[2], "cut_off"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_reply_keeps_the_last_good_snapshot(source_at, what):
    """Whatever comes instead of a snapshot is counted by its kind and never followed."""
    *reply, word = BAD[what]
    with replying(good(), tuple(reply)) as (url, _):
        source = source_at(url)
        source.fetch()
        before = source.current()
        source.fetch()
    assert source.current() == before
    assert source.faults == {word: 1}
    assert policies(source) == ["tool-cache-policy"]


def test_a_restored_controller_is_followed_once_the_old_lease_is_over(source_at):
    """Lower generations are another controller's only while the one before still counts."""
    with replying(good(lease_s=0.0, generation=9), good(decision(policy="new"), generation=1)) as (url, _):
        source = source_at(url)
        source.fetch()
        source.fetch()
    assert policies(source) == ["new"]


@pytest.mark.parametrize("url", ["", "nonsense", "file:///etc/passwd", "http://", "http://127.0.0.1:1/v1/snapshot"])
def test_an_address_that_leads_nowhere_hurts_nobody(source_at, url):
    """Nothing raises; nothing is in force."""
    source = source_at(url)
    source.fetch()
    assert policies(source) == []
    assert sum(source.faults.values()) == 1


def test_failures_back_off_and_success_ends_that(source_at):
    """Each failure in a row doubles the wait up to half a minute; jitter spreads a fleet."""
    source = source_at("http://127.0.0.1:1/", jitter=lambda low, _high: low)
    source._fetch_s = 2.0
    waits = []
    for _ in range(6):
        waits.append(source.delay_s())
        source.fetch()
    assert waits == [1.5, 3.0, 6.0, 12.0, 22.5, 22.5]
    assert source.delay_s() == MOST_BACKOFF_S * 0.75
    with replying(good()) as (url, _):
        source._fetcher = source_at(url)._fetcher
        source.fetch()
    assert source.delay_s() == 1.5


def test_jitter_spreads_what_starts_together(tmp_path):
    """A hundred agents that start at once do not ask at once."""
    sources = [HttpSource("http://127.0.0.1:1/", tmp_path, fetch_s=2.0) for _ in range(100)]
    waits = sorted(source.delay_s() for source in sources)
    assert 1.5 <= waits[0] < 1.8
    assert 2.2 < waits[-1] <= 2.5


def test_a_token_in_a_file_may_change(tmp_path):
    """The file is read at each look; while it cannot be, the token given stands in."""
    file = tmp_path / "token"
    read = token_reader("given", file)
    assert read() == "given"
    file.write_text("first\n")
    assert read() == "first"
    file.write_text("second")
    assert read() == "second"


def test_the_settings_choose_the_source(tmp_path):
    """With an address it is asked for; without one the file is watched."""
    environment = {"PERFOPT_HOME": str(tmp_path), "PERFOPT_SNAPSHOT_POLL_S": "0.5"}
    plain = source_of(AgentSettings.from_environment(environment))
    asked = source_of(AgentSettings.from_environment({**environment, "PERFOPT_SNAPSHOT_URL": "http://127.0.0.1:1/"}))
    try:
        assert type(plain) is FileSource
        assert isinstance(asked, HttpSource)
        assert asked._fetch_s == 0.5
    finally:
        plain.close()
        asked.close()


# --- with the controller's own server -------------------------------------------------------------


def eventually(condition, within_s):
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def publish(home, document):
    home.mkdir(exist_ok=True)
    (home / "next").write_text(document.to_json())
    (home / "next").replace(home / "snapshot.json")


def test_a_fleet_follows_the_controller_over_http(tmp_path, new_run):
    """A change arrives within five seconds, a kill in the controller's folder within the poll, one here within two."""
    controller, agent_home = tmp_path / "controller", tmp_path / "agent"
    agent_home.mkdir()
    publish(controller, snapshot(decision()))
    (tmp_path / "token").write_text(TOKEN)
    with served(snapshot_app(controller, TOKEN), "127.0.0.1", 0) as port:
        settings = AgentSettings.from_environment(
            {
                "PERFOPT_HOME": str(agent_home),
                "PERFOPT_SNAPSHOT_URL": f"http://127.0.0.1:{port}/v1/snapshot",
                "PERFOPT_SNAPSHOT_TOKEN_FILE": str(tmp_path / "token"),
                "PERFOPT_SNAPSHOT_POLL_S": "0.3",
            }
        )
        runtime = install(settings)
        source = runtime._source
        try:
            assert eventually(lambda: policies(source) == ["tool-cache-policy"], 5)
            publish(controller, snapshot(decision(policy="other"), generation=2))
            assert eventually(lambda: policies(source) == ["other"], 5)
            assert not source.current().killed
            (controller / "kill.d").mkdir()
            (controller / "kill.d" / "other").touch()
            assert eventually(lambda: policies(source) == [], 2)
            (controller / "kill.d" / "other").unlink()
            assert eventually(lambda: policies(source) == ["other"], 5)
            (controller / "kill").touch()
            assert eventually(lambda: source.current().killed, 2)
            (controller / "kill").unlink()
            assert eventually(lambda: not source.current().killed, 5)
            (agent_home / "kill").touch()
            assert eventually(lambda: source.current().killed, 2)
            assert not source.faults
        finally:
            runtime.close()


def test_what_the_server_answers(tmp_path):
    """No token, no snapshot; the ETag stays while only the lease is renewed, and the age tells of that."""
    import httpx  # noqa: PLC0415 - a client of somebody else's

    first = snapshot(decision(), generated_at_ns=time.time_ns() - 3_000_000_000)
    with served(snapshot_app(tmp_path, TOKEN), "127.0.0.1", 0) as port:
        url, mine = f"http://127.0.0.1:{port}/v1/snapshot", {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(url, headers=mine).status_code == 503
        publish(tmp_path, first)
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"Authorization": "Bearer wrong"}).status_code == 401
        told = httpx.get(url, headers=mine)
        assert json.loads(told.text) == json.loads(first.to_json())
        assert float(told.headers[SNAPSHOT_AGE_HEADER]) == pytest.approx(3.0, abs=1.0)
        publish(tmp_path, replace(first, generated_at_ns=time.time_ns()))
        again = httpx.get(url, headers={**mine, "If-None-Match": told.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert float(again.headers[SNAPSHOT_AGE_HEADER]) < 1.5
        (tmp_path / "kill").touch()
        killed = httpx.get(url, headers={**mine, "If-None-Match": told.headers["etag"]})
        assert killed.json()["killed"] is True
        (tmp_path / "snapshot.json").write_text("{")
        assert httpx.get(url, headers=mine).json()["killed"] is True
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_a_dead_controller_lets_the_lease_run_out(tmp_path, new_run):
    """When nobody answers any more, calls are plain once the lease is over, and not before."""

    def read():
        return "told"

    with replying(good(decision(effects={"read": "read"}), lease_s=0.6)) as (url, _):
        source = HttpSource(url, tmp_path, fetch_s=30)
        source.start()
        agent = Agent(Runtime(source), new_run())
    followed = agent.runtime._standing.followed
    assert followed(source.current())
    assert eventually(lambda: not followed(source.current()), 2)
    assert agent.call(read) == "told"
    agent.runtime.close()
