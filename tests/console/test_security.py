"""Who may do what, and what is refused: hosts, origins, tokens, forms, sizes."""

from __future__ import annotations

import json
import os

import pytest
from console_parts import AGENT_TOKEN, TOKEN, console

from otel_perfopt.console.console_settings import allowed_hosts
from otel_perfopt.console.front_door import SAFE_HEADERS
from otel_perfopt.console.login_token import TOKEN_FILE, login_token
from otel_perfopt.errors import PerfoptError

PAGES = ("/", "/findings", "/runs", "/proposals", "/policies", "/policies/cache", "/ledger", "/kill", "/login")
CHANGES = ("/policies/cache/approve", "/policies/cache/reject", "/policies/cache/kill", "/kill/kill", "/kill/unkill")


def test_every_page_has_safe_headers_and_nothing_inline(visitor):
    """No page runs inline code or style, can be framed, or is kept by a cache."""
    for path in PAGES:
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert answer.headers.items() >= {name.lower(): value for name, value in SAFE_HEADERS.items()}.items()
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        for inline in ("<style", " style=", "onclick=", "<script>", "http://"):
            assert inline not in answer.text


def test_a_foreign_name_for_this_server_is_refused(visitor):
    """Rebinding a name to this address gives a foreign page nothing, not even to read or to send telemetry."""
    for host in ("evil.example", "evil.example:8765", "127.0.0.1", "127.0.0.1:8765.evil.example", ""):
        for method, path in (("GET", "/"), ("POST", "/v1/traces"), ("GET", "/v1/snapshot"), ("POST", "/login")):
            assert visitor.client.request(method, path, headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_pages_form_is_refused(visitor, headers):
    """With a session and its form token even: the origin alone refuses it."""
    visitor.log_in()
    answer = visitor.client.post("/kill/kill", data={"csrf": visitor.csrf(), "reason": "x"}, headers=headers)
    assert answer.status_code == 403
    assert not (visitor.desk.settings.home / "kill").exists()


def test_our_own_page_may_ask(visitor):
    """The browser's own headers of a page of ours pass."""
    visitor.log_in()
    headers = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
    answer = visitor.client.post("/kill/kill", data={"csrf": visitor.csrf(), "reason": "x"}, headers=headers)
    assert answer.status_code == 303
    assert (visitor.desk.settings.home / "kill").exists()


def test_nothing_changes_without_a_login(visitor):
    """A right form token alone is not enough."""
    for path in CHANGES:
        assert visitor.send(path, reason="because").status_code == 403
    assert not (visitor.desk.settings.home / "kill").exists()
    assert visitor.desk.loop.seen.status("cache").state.approvals == ()


def test_every_form_needs_its_token(visitor):
    """Also of who is logged in, and also where nothing much would happen."""
    visitor.log_in()
    for path in (*CHANGES, "/logout", "/theme", "/login"):
        for csrf in ("", "wrong", "\u00e9"):
            assert visitor.send(path, csrf, reason="because", token=TOKEN, name="x").status_code == 403
    assert not (visitor.desk.settings.home / "kill").exists()


def test_a_form_token_is_of_one_session(home):
    """What another visitor was given does not help, nor what one had before logging in."""
    with console(home) as visitor:
        before = visitor.csrf()
        visitor.log_in()
        assert visitor.csrf() != before
        assert visitor.send("/kill/kill", before, reason="x").status_code == 403


def test_changes_are_never_a_get(visitor):
    """A link cannot change anything."""
    visitor.log_in()
    for path in (*CHANGES, "/logout", "/theme"):
        assert visitor.get(path).status_code == 405


def test_the_cookie_is_strict_and_out_of_reach_of_scripts(home):
    """Behind TLS it also travels by TLS alone."""
    for secure in (False, True):
        with console(home, secure=secure) as visitor:
            cookie = visitor.get("/login").headers["set-cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert ("Secure" in cookie) == secure


def test_a_cookie_of_ones_own_making_is_nobody(visitor):
    """Changed, cut, foreign or of an ended session: the visitor is nobody."""
    visitor.log_in()
    good = visitor.client.cookies["perfopt_session"]
    for bad in (good[:-2], good[::-1], "x", ""):
        visitor.client.cookies.set("perfopt_session", bad, domain="127.0.0.1", path="/")
        assert "log out" not in visitor.get("/").text
        visitor.client.cookies.clear()
    visitor.client.cookies.set("perfopt_session", good)
    assert "log out" in visitor.get("/").text
    visitor.send("/logout")
    visitor.client.cookies.clear()
    visitor.client.cookies.set("perfopt_session", good)
    assert "log out" not in visitor.get("/").text


def test_wrong_tokens_are_few(visitor):
    """After five in a minute even the right one waits."""
    for _ in range(5):
        assert visitor.log_in(token="wrong").status_code == 403
    answer = visitor.log_in()
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "log out" not in visitor.get("/").text


def test_a_name_is_needed_and_is_nobody_elses(visitor):
    """The ledger says who acted, so nobody acts without a name or as the system."""
    for name in ("", "  ", "perfopt", "Perfopt", "a\nb", "x" * 81):
        assert visitor.log_in(name=name).status_code == 400


def test_a_login_leads_nowhere_else(visitor):
    """The page to go back to is one of ours."""
    for back in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "/a\nb"):
        answer = visitor.send("/login", token=TOKEN, name="maria", next=back)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"


def test_where_reading_is_not_free_it_needs_a_login(home):
    """Beyond loopback nothing is shown to who has not logged in; agents show their own token."""
    with console(home, reading_is_free=False, agent_token=AGENT_TOKEN) as visitor:
        for path in PAGES[:-1]:
            answer = visitor.get(path)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login")
        assert visitor.get("/nope", headers={"accept": "text/html"}).text.count("<nav") == 0
        visitor.client.post("/login", data={"csrf": visitor.csrf("/login"), "token": AGENT_TOKEN, "name": "agent"})
        assert visitor.get("/").status_code == 303
        assert visitor.get("/v1/snapshot").status_code == 401
        assert visitor.get("/v1/snapshot", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 401
        assert visitor.get("/v1/snapshot", headers={"authorization": f"Bearer {AGENT_TOKEN}"}).status_code == 200
        assert visitor.client.post("/v1/traces").status_code == 401


def test_a_form_has_limits(visitor):
    """Too large, of another type, or with too many fields: refused before anything is looked at."""
    assert (
        visitor.client.post(
            "/login", content=b"x" * (65 << 10), headers={"content-type": "application/x-www-form-urlencoded"}
        ).status_code
        == 413
    )
    assert visitor.client.post("/login", json={}).status_code == 415
    many = "&".join(f"a{number}=1" for number in range(50))
    assert (
        visitor.client.post(
            "/login", content=many, headers={"content-type": "application/x-www-form-urlencoded"}
        ).status_code
        == 400
    )


def test_what_telemetry_says_is_only_text(home):
    """Names that are markup are shown as such."""
    bad = "<img src=x onerror=alert(1)>\u202e"
    (home / "telemetry").mkdir()
    span = {
        "traceId": "1" * 32,
        "spanId": "1" * 16,
        "name": bad,
        "startTimeUnixNano": "1790000000000000000",
        "endTimeUnixNano": "1790000001000000000",
        "attributes": [
            {"key": "perfopt.step.kind", "value": {"stringValue": "command"}},
            {"key": "perfopt.command.name", "value": {"stringValue": bad}},
        ],
    }
    line = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    (home / "telemetry" / "a.jsonl").write_text(json.dumps(line) + "\n")
    with console(home) as visitor:
        for path in ("/runs", f"/runs/{'1' * 32}", "/runs?command=<script>alert(1)</script>"):
            text = visitor.get(path).text
            assert "<img src=x" not in text
            assert "<script>" not in text
            assert "\u202e" not in text
        assert "&lt;img" in visitor.get("/runs").text


def test_the_token_is_kept_for_its_owner_alone(tmp_path):
    """Made once, readable by nobody else; a file that others may read is refused."""
    token = login_token(tmp_path / "home")
    path = tmp_path / "home" / TOKEN_FILE
    assert login_token(tmp_path / "home") == token
    assert len(token) >= 32
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
        path.chmod(0o644)
        with pytest.raises(PerfoptError, match="chmod 600"):
            login_token(tmp_path / "home")
        path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(PerfoptError, match="shorter"):
        login_token(tmp_path / "home")


def test_names_by_which_it_may_be_addressed():
    """Loopback by all its names, always with the port; a public address as people write it."""
    assert allowed_hosts("127.0.0.1", 8765) == {"127.0.0.1:8765", "localhost:8765", "[::1]:8765"}
    assert "perfopt.example" in allowed_hosts("0.0.0.0", 8765, "https://perfopt.example/")
    assert "localhost:8765" not in allowed_hosts("10.0.0.7", 8765)
