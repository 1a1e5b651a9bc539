"""Coming and going: a token and a name in, a session that may change things out."""

from __future__ import annotations

import math
import time

from starlette.responses import RedirectResponse, Response

from otel_perfopt.console.desk import Visit
from otel_perfopt.console.session import same
from otel_perfopt.console.view import THEME_COOKIE, THEMES
from otel_perfopt.decide.approval import identity
from otel_perfopt.decide.lifecycle import SYSTEM
from otel_perfopt.errors import PerfoptError

_LONGEST_NAME = 80
_YEAR_S = 365 * 86_400


def login_page(visit: Visit) -> Response:
    """Ask for token and name."""
    return _asked(visit, visit.request.query_params.get("next", "/"))


def log_in(visit: Visit, form: dict[str, str]) -> Response:
    """Begin a session in a person's name, with a form token of its own."""
    desk, back = visit.desk, form.get("next", "/")
    address = visit.request.client.host if visit.request.client is not None else ""
    wait_s = desk.limit.wait_s(address, time.monotonic())
    if wait_s > 0:
        seconds = math.ceil(wait_s)
        answer = _asked(visit, back, f"Too many wrong tokens; try again in {seconds} s.", form.get("name", ""), 429)
        answer.headers["Retry-After"] = str(seconds)
        return answer
    name = form.get("name", "").strip()
    if not same(form.get("token", "").strip(), desk.settings.login_token):
        desk.limit.failed(address, time.monotonic())
        return _asked(visit, back, "That is not the token; it was printed when the console started.", name, 403)
    problem = _problem(name)
    if problem:
        return _asked(visit, back, problem, name, 400)
    desk.sessions.end(visit.session)
    visit.session = desk.sessions.begin(name)
    visit.note(f"You act as {name}.", good=True)
    return RedirectResponse(_here(back), 303)


def log_out(visit: Visit, form: dict[str, str]) -> Response:
    """End the session."""
    del form
    visit.desk.sessions.end(visit.session)
    visit.session = visit.desk.sessions.begin()
    return RedirectResponse("/", 303)


def choose_theme(visit: Visit, form: dict[str, str]) -> Response:
    """Keep which colours somebody likes; anything but light and dark is the system's choice."""
    response = RedirectResponse(_here(form.get("next", "/")), 303)
    theme = form.get("theme", "")
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, max_age=_YEAR_S, samesite="strict", httponly=True, secure=visit.desk.settings.secure
        )
    else:
        response.delete_cookie(THEME_COOKIE)
    return response


def _asked(visit: Visit, back: str, problem: str = "", name: str | None = None, status: int = 200) -> Response:
    if name is None:
        name = _machine_user()
    return visit.page("login.html", status, next=_here(back), problem=problem, name=name)


def _problem(name: str) -> str:
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        return f"Say your name, in at most {_LONGEST_NAME} characters: it goes on the ledger."
    return f"{SYSTEM} is who acts when nobody does; say your own name." if name.lower() == SYSTEM else ""


def _here(path: str) -> str:
    """Return a path of this site; anything else becomes the first page."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_path and "\\" not in path else "/"


def _machine_user() -> str:
    try:
        return identity()
    except PerfoptError:
        return ""
