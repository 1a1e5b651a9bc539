"""What whoever asks has stated to prefer: a block, baggage or the environment in, a preference of the command out."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType

from opentelemetry import baggage
from opentelemetry.context import Context

from otel_perfopt import conventions as c
from otel_perfopt.signal.calls import RunContext
from otel_perfopt.signal.emit.faults import fault
from otel_perfopt.signal.emit.runs import current_run
from otel_perfopt.signal.emit.tracing import attach, detach, set_attributes
from otel_perfopt.signal.preference import ENVIRONMENT, STATED, known_preference

_of_process = ""


def prefer_in_process(preference: str) -> None:
    """Have every command that states nothing prefer this (`PERFOPT_PREFERENCE`); empty or unknown: nothing."""
    global _of_process  # noqa: PLW0603 - one a process, as its environment
    _of_process = known_preference(preference)


def stated_preference() -> tuple[str, str]:
    """Return what is preferred here and how that is known: by baggage, else by the environment; two empty texts if not."""
    try:
        said = known_preference(baggage.get_baggage(c.PREFERENCE))
    except Exception as error:
        fault("preference", error)
        said = ""
    if said:
        return said, STATED
    return (_of_process, ENVIRONMENT) if _of_process else ("", "")


def state_preference(run: RunContext) -> None:
    """Take into a command that begins what is preferred here, and say so on its span."""
    preference, source = stated_preference()
    if preference:
        _take(run, preference, source)


def _take(run: RunContext, preference: str, source: str) -> None:
    run.preference, run.preference_source = preference, source
    set_attributes(run.span, {c.PREFERENCE: preference, c.PREFERENCE_SOURCE: source})


class prefer:  # noqa: N801 - used like a function, as `command` and `tool` are
    """State what whoever asks would rather have: `with prefer("speed"):`, or `async with`.

    `speed`, `quality`, `balanced` or `cost`; anything else counts as not stated. It holds for commands that
    begin inside the block, here and (as W3C baggage) in services that they call, and for the command
    around the block if nothing has been decided by preference in it yet. Only where an approved policy
    matches on preference does anything change. One object is for one block at a time; nothing raises.
    """

    __slots__ = ("_preference", "_tokens")

    def __init__(self, preference: str) -> None:
        self._preference = known_preference(preference)
        self._tokens: list[Token[Context] | None] = []

    def __enter__(self) -> None:
        token: Token[Context] | None = None
        try:
            if self._preference:
                token = attach(baggage.set_baggage(c.PREFERENCE, self._preference))
                self._state_for_command()
        except Exception as error:
            fault("preference", error)
        self._tokens.append(token)

    def _state_for_command(self) -> None:
        run = current_run()
        if run is not None and not run.preference_settled and run.preference_source in ("", ENVIRONMENT):
            _take(run, self._preference, STATED)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detach(self._tokens.pop() if self._tokens else None)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)
