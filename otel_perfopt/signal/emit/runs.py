"""Which command a call belongs to, and which request of the model it answers: calls in, `RunContext`s out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any, Final

from otel_perfopt.signal.calls import RunContext, RunListener, ToolRequest
from otel_perfopt.signal.emit.faults import fault

MAX_REQUESTS = 256
MAX_REPLIES = 8
MAX_ENDED = 1000
_SLOT = "signal.requests"

_current: ContextVar[RunContext | None] = ContextVar("otel_perfopt_run", default=None)
# The command here, even one that has ended; asked twice a span, so there is no function around it.
run_here: Final = _current.get
_ended_here: ContextVar[RunContext | None] = ContextVar("otel_perfopt_ended_run", default=None)
_ended: OrderedDict[str, RunContext] = OrderedDict()  # by conversation
_lock = threading.Lock()
_listener: RunListener | None = None
_first: Callable[[], None] | None = None


def on_first_run(told: Callable[[], None] | None) -> None:
    """Have `told` called once, when the next command begins."""
    global _first  # noqa: PLW0603 - one a process, as the commands it hears of
    _first = told


def set_run_listener(listener: RunListener | None) -> None:
    """Tell `listener` when commands begin and end; None tells nobody."""
    global _listener  # noqa: PLW0603 - one a process, as the commands it hears of
    _listener = listener


def run_began(run: RunContext) -> None:
    """Tell who listens that a command begins; never raises."""
    if _first is not None:
        _tell_first()
    if _listener is not None:
        try:
            _listener.run_began(run)
        except Exception as error:
            fault("run listener", error)


def _tell_first() -> None:
    global _first
    first, _first = _first, None
    if first is not None:
        try:
            first()
        except Exception as error:
            fault("first run", error)


def after_fork() -> None:
    """Take a lock that is free: the parent may have held it."""
    global _lock  # noqa: PLW0603 - one a process
    _lock = threading.Lock()


def current_run() -> RunContext | None:
    """Return the command being run here, or None; one that has ended is none."""
    run = _current.get()
    return run if run is not None and run.open else None


def enter_run(run: RunContext | None) -> Token[RunContext | None] | None:
    """Make `run` the current one; give what is returned to `leave_run`."""
    try:
        return _current.set(run)
    except Exception as error:
        fault("run context", error)
        return None


def leave_run(token: Token[RunContext | None] | None) -> bool:
    """Make current what was so before `enter_run`; False from another context, as when a coroutine is closed."""
    if token is None:
        return True
    try:
        _current.reset(token)
    except ValueError:
        return False
    except Exception as error:
        fault("run context", error)
    return True


def remember_ended(run: RunContext) -> None:
    """Keep a run that has ended, so that feedback on it finds it."""
    run.slots.pop(_SLOT, None)
    _ended_here.set(run)
    if _listener is not None:
        try:
            _listener.run_ended(run)
        except Exception as error:
            fault("run listener", error)
    if run.conversation_id:
        with _lock:
            _ended[run.conversation_id] = run
            _ended.move_to_end(run.conversation_id)
            while len(_ended) > MAX_ENDED:
                _ended.popitem(last=False)


def last_ended(conversation_id: str = "") -> RunContext | None:
    """Return the run that ended last in the conversation, or in this thread or task where none is named."""
    if not conversation_id:
        return _ended_here.get()
    with _lock:
        return _ended.get(conversation_id)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the model that no call has answered yet, and the span id of the model call that made it."""

    request: ToolRequest
    span_id: str = ""


@dataclass(slots=True)
class _Requests:
    replies: list[list[Asked]] = field(default_factory=list)  # newest last


def remember_requests(run: RunContext, requests: Sequence[ToolRequest], span_id: str) -> None:
    """Keep a reply's requests until calls answer them; of very many replies the oldest are forgotten."""
    if not requests:
        return
    with _lock:
        replies = _requests(run).replies
        replies.append([Asked(request, span_id) for request in requests[:MAX_REQUESTS]])
        del replies[:-MAX_REPLIES]


def forget_requests(run: RunContext, call_ids: Collection[str]) -> None:
    """Forget the replies that a later model call has answered: their calls were made, or never will be."""
    with _lock:
        replies = _requests(run).replies
        replies[:] = [reply for reply in replies if not any(item.request.call_id in call_ids for item in reply)]


def unanswered(run: RunContext) -> tuple[Asked, ...]:
    """Return the requests that no call has answered, oldest first."""
    with _lock:
        return tuple(item for reply in _requests(run).replies for item in reply)


def find_request(
    run: RunContext, tool: str, arguments: Mapping[str, Any] | None, *, exact: bool = False
) -> Asked | None:
    """Return the unanswered request that a call of `tool` answers, without taking it.

    The newest reply comes first. Equal arguments win; without `exact`, the first request of that
    tool otherwise (agents add arguments of their own).
    """
    with _lock:
        asked = [item for reply in reversed(_requests(run).replies) for item in reply if item.request.name == tool]
    for item in asked:
        if _answers(item.request, arguments):
            return item
    return asked[0] if asked and not exact else None


def take_request(run: RunContext, asked: Asked) -> None:
    """Mark a request as answered."""
    with _lock:
        replies = _requests(run).replies
        for reply in replies:
            reply[:] = [item for item in reply if item is not asked]
        replies[:] = [reply for reply in replies if reply]


def _requests(run: RunContext) -> _Requests:
    requests = run.slots.get(_SLOT)
    if not isinstance(requests, _Requests):
        requests = run.slots[_SLOT] = _Requests()
    return requests


def _answers(request: ToolRequest, arguments: Mapping[str, Any] | None) -> bool:
    if request.arguments is None or arguments is None:
        return False
    try:
        return all(name in arguments and arguments[name] == value for name, value in request.arguments.items())
    except Exception:  # arguments are the host's objects, and so is their `==`
        return False
