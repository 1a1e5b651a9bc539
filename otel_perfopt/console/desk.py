"""What pages work with: everything one console holds, and one visit to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from otel_perfopt.console.console_settings import ConsoleSettings
from otel_perfopt.console.login_limit import LoginLimit
from otel_perfopt.console.loop_thread import LoopThread
from otel_perfopt.console.plan_shelf import PlanShelf
from otel_perfopt.console.received import Received
from otel_perfopt.console.run_shelf import RunShelf
from otel_perfopt.console.session import Session, SessionBook
from otel_perfopt.console.view import View


@dataclass(slots=True)
class Desk:
    """One console: its settings, the loop beside it, what it remembers, and how it draws."""

    settings: ConsoleSettings
    loop: LoopThread
    runs: RunShelf
    plans: PlanShelf
    sessions: SessionBook
    received: Received = field(default_factory=Received)
    limit: LoginLimit = field(default_factory=LoginLimit)
    view: View = field(default_factory=View)
    clock: Callable[[], int] = time.time_ns


@dataclass(slots=True)
class Visit:
    """One request and whose it is; a page may put another session in place of the present one."""

    request: Request
    session: Session
    desk: Desk

    def page(self, template: str, status_code: int = 200, **values: Any) -> Response:
        """Return a page with what every page shows."""
        seen = self.desk.loop.seen
        fragment = "x-perfopt-fragment" in self.request.headers
        return self.desk.view.page(
            self.request,
            template,
            status_code,
            actor=self.session.actor,
            csrf=self.session.csrf,
            killed=seen.killed if seen is not None else False,
            notes=() if fragment else self.desk.sessions.take_notes(self.session),
            fault=self.desk.loop.fault,
            **values,
        )

    def note(self, text: str, *, good: bool) -> None:
        """Keep a sentence for this visitor's next page."""
        self.desk.sessions.note(self.session, text, good=good)
