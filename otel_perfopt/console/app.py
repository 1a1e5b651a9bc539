"""The console as one web application: a desk in; pages, forms, the receiver and the snapshot behind one front door out."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from importlib import resources
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from otel_perfopt.console.desk import Desk, Visit
from otel_perfopt.console.front_door import FrontDoor
from otel_perfopt.console.pages import entrance, findings, ledger, overview, policies, proposals, runs
from otel_perfopt.console.receiver import Receiver
from otel_perfopt.console.request_body import read_form
from otel_perfopt.console.session import SESSION_COOKIE, SESSION_S, same
from otel_perfopt.loop.snapshot_server import snapshot_app

Page = Callable[[Visit], Response]
Form = Callable[[Visit, "dict[str, str]"], Response]
Endpoint = Callable[[Request], Awaitable[Response]]

# Everything a person may look at; the second says whether that needs no login even where reading does.
PAGES: tuple[tuple[str, Page, bool], ...] = (
    ("/", overview.overview, False),
    ("/findings", findings.findings, False),
    ("/findings/{key}", findings.finding, False),
    ("/runs", runs.runs, False),
    ("/runs/{trace_id}", runs.run, False),
    ("/proposals", proposals.proposals, False),
    ("/policies", policies.policies, False),
    ("/policies/{name}", policies.policy, False),
    ("/ledger", ledger.ledger, False),
    ("/kill", policies.kill_switch, False),
    ("/login", entrance.login_page, True),
)
# Everything a person may do; the last says whether that needs a login.
FORMS: tuple[tuple[str, Form, bool], ...] = (
    ("/login", entrance.log_in, False),
    ("/logout", entrance.log_out, False),
    ("/theme", entrance.choose_theme, False),
    ("/policies/{name}/{event}", policies.act, True),
    ("/kill/{event}", policies.act_on_all, True),
)
STATIC = ("console.css", "console.js", "icon.svg")


def console_app(desk: Desk, receiver: Receiver) -> Starlette:
    """Return the application."""
    shown: list[BaseRoute] = [Route(path, _page(desk, page, free=free)) for path, page, free in PAGES]
    done: list[BaseRoute] = [
        Route(path, _form(desk, form, needs_login=needs_login), methods=["POST"]) for path, form, needs_login in FORMS
    ]
    static: list[BaseRoute] = [Route(f"/static/{name}", _static(name)) for name in STATIC]
    settings = desk.settings
    return Starlette(
        routes=[
            *receiver.routes(),
            *snapshot_app(settings.home, settings.agent_token, desk.clock).routes,
            *static,
            *shown,
            *done,
        ],
        middleware=[Middleware(FrontDoor, hosts=settings.hosts)],
        exception_handlers={HTTPException: _refused(desk)},
    )


def _page(desk: Desk, page: Page, *, free: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        visit = _visit(desk, request)
        if not (free or desk.settings.reading_is_free or visit.session.actor):
            return _kept(visit, _to_login(request.url.path))
        return _kept(visit, await run_in_threadpool(page, visit))

    return endpoint


def _form(desk: Desk, form: Form, *, needs_login: bool) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        visit = _visit(desk, request)
        said = dict(await read_form(request))
        if not same(said.pop("csrf", ""), visit.session.csrf):
            raise HTTPException(
                403, "this form is not from here or too old; go back, load the page again and send it again"
            )
        if needs_login and not visit.session.actor:
            raise HTTPException(403, "log in first: who changes something is kept on the ledger")
        return _kept(visit, await run_in_threadpool(form, visit, said))

    return endpoint


def _visit(desk: Desk, request: Request) -> Visit:
    session = desk.sessions.read(request.cookies.get(SESSION_COOKIE, ""))
    return Visit(request, session or desk.sessions.begin(), desk)


def _kept(visit: Visit, response: Response) -> Response:
    """Let the browser keep the session, where it is another one than it sent."""
    known = visit.desk.sessions.read(visit.request.cookies.get(SESSION_COOKIE, ""))
    if known != visit.session:
        response.set_cookie(
            SESSION_COOKIE,
            visit.desk.sessions.cookie(visit.session),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=visit.desk.settings.secure,
        )
    return response


def _to_login(path: str) -> Response:
    return RedirectResponse(f"/login?next={quote(path)}", 303)


def _static(name: str) -> Endpoint:
    content = resources.files("otel_perfopt.console").joinpath("static", name).read_bytes()
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"

    async def endpoint(_request: Request) -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "max-age=3600"})

    return endpoint


def _refused(desk: Desk) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handler(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        visit = _visit(desk, request)
        if not (desk.settings.reading_is_free or visit.session.actor):
            return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)
        return await run_in_threadpool(visit.page, "refused.html", error.status_code, text=error.detail)

    return handler
