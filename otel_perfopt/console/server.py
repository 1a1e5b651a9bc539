"""One process that is everything: settings in; loop, receiver, snapshot and pages, served until the block ends, out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from starlette.applications import Starlette

from otel_perfopt.console.app import console_app
from otel_perfopt.console.console_settings import ConsoleSettings
from otel_perfopt.console.desk import Desk
from otel_perfopt.console.loop_thread import LoopThread
from otel_perfopt.console.plan_shelf import PlanShelf
from otel_perfopt.console.receiver import Receiver
from otel_perfopt.console.run_shelf import RunShelf, Watched
from otel_perfopt.console.session import SessionBook
from otel_perfopt.console.store_feed import StoreFeed
from otel_perfopt.execution.recorded import RecordedExecutions
from otel_perfopt.execution.source import ExecutionSource
from otel_perfopt.loop.controller import Controller, Turn
from otel_perfopt.loop.findings_watch import FindingsWatch
from otel_perfopt.loop.observatory import TELEMETRY_FOLDER
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.signal.read.recorded import open_recorded

Tell = Callable[[Controller], Callable[[Turn], None]]


@dataclass(frozen=True, slots=True)
class Running:
    """A console that runs: its web application, ready to be served, and what it holds."""

    app: Starlette
    desk: Desk


def _quiet(_controller: Controller) -> Callable[[Turn], None]:
    return lambda _turn: None


@contextmanager
def running_console(
    settings: ConsoleSettings,
    clock: Callable[[], int] = time.time_ns,
    controller: Controller | None = None,
    tell: Tell = _quiet,
) -> Iterator[Running]:
    """Run the loop (and the store's feed) beside a web application for as long as the block lasts.

    `tell` is given the controller and returns what is told of each turn, such as its metrics.
    """
    with ExitStack() as stack:
        home = settings.home
        (home / TELEMETRY_FOLDER).mkdir(parents=True, exist_ok=True)
        made = controller or Controller(home, clock, proposes=settings.proposes)
        feed = _feed(settings, stack)
        shelf = RunShelf()

        def source() -> ExecutionSource:
            return feed.source() if feed is not None else RecordedExecutions(open_recorded([home / TELEMETRY_FOLDER]))

        made.findings = FindingsWatch(
            home, home / TELEMETRY_FOLDER, every_s=settings.analyse_every_s, source=lambda: Watched(source(), shelf.add)
        )
        made.observatory.run_listeners.append(shelf.add)
        plans = PlanShelf(source, lambda: prices_of(home))
        stack.callback(plans.close)
        loop = LoopThread(made, settings.every_s, clock, tell(made), shelf.newest)
        desk = Desk(settings, loop, shelf, plans, SessionBook(settings.login_token), clock=clock)
        receiver = Receiver(home, settings.agent_token, desk.received)
        stack.callback(receiver.close)
        loop.start()
        stack.callback(loop.stop)
        yield Running(console_app(desk, receiver), desk)


def _feed(settings: ConsoleSettings, stack: ExitStack) -> StoreFeed | None:
    if not settings.store:
        return None
    feed = StoreFeed(settings.home, settings.store)
    stack.callback(feed.stop)
    feed.start()
    return feed
