"""Certificates read once: HTTP clients as the agent makes them in, the same clients sharing what they read out."""

from __future__ import annotations

import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from types import ModuleType
from typing import Any, Final

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.resource_pool import ResourcePoolParameters
from otel_perfopt.settings import certificate_variables
from otel_perfopt.signal.emit.faults import fault

NAME: Final = "resource_pool"
LIBRARIES: Final = ("httpx", "httpx2")
_TRANSPORTS: Final = ("HTTPTransport", "AsyncHTTPTransport")
_INIT: Final = "__init__"


class ResourcePool:
    """A client with default TLS settings takes the context of the one before it instead of reading the certificates anew.

    Agents that make a client for each call spend most of its making there (some 50 ms). Connections,
    cookies, limits and closing stay each client's own: connection pools are not shared, since one
    client's `close` would end another's calls and its limits would hold for both. Clients with HTTP/2, with
    certificates of their own or with verification off are made as ever.
    """

    name = NAME

    def __init__(self) -> None:
        self._use: Use | None = None
        self._undo: list[Callable[[], None]] = []
        self._watched: set[str] = set()
        self._contexts: dict[Hashable, tuple[float, ssl.SSLContext]] = {}
        self._lock = threading.Lock()
        self.counts: Counter[str] = Counter()

    def begin(self, use: Use) -> None:
        """Stand before the making of clients, also of libraries that are loaded later."""
        if self._use is None:
            self._use = use
            self.tick(0.0)

    def end(self) -> None:
        """Let clients be made as they were; those that exist keep what they have."""
        self._use = None
        while self._undo:
            self._undo.pop()()
        self._watched.clear()
        with self._lock:
            self._contexts.clear()

    def tick(self, quiet_s: float) -> None:  # noqa: ARG002 - whatever the hour
        """Stand before libraries that have been loaded since."""
        for name in LIBRARIES:
            module = sys.modules.get(name)
            if self._use is not None and module is not None and name not in self._watched:
                self._watch(name, module)

    def facts(self) -> Mapping[str, int]:
        """Return how many clients shared what was read, and how many had to read."""
        return dict(self.counts)

    def after_fork(self) -> None:
        """Make the lock anew: another thread of the parent may have held it."""
        self._lock = threading.Lock()

    def _watch(self, name: str, module: ModuleType) -> None:
        kinds = [vars(module).get(kind) for kind in _TRANSPORTS]
        create = vars(module).get("create_ssl_context")
        if None in kinds or create is None:
            return  # not loaded to its end, or of another make
        self._watched.add(name)
        for kind in kinds:
            self._stand_before(kind, create)

    def _stand_before(self, kind: Any, create: Callable[..., ssl.SSLContext]) -> None:
        plain = kind.__init__
        shared = self._shared

        @wraps(plain)
        def made(transport: Any, verify: Any = True, cert: Any = None, *args: Any, **kwargs: Any) -> None:
            if verify is True and cert is None and not args and not kwargs.get("http2"):
                verify = shared(create, kwargs.get("trust_env", True))
            plain(transport, verify, cert, *args, **kwargs)

        setattr(kind, _INIT, made)

        def undo() -> None:
            # What somebody put in front of ours since stays; through it ours does nothing any more.
            if kind.__init__ is made:
                setattr(kind, _INIT, plain)

        self._undo.append(undo)

    def _shared(self, create: Callable[..., ssl.SSLContext], trust_env: object) -> Any:
        """Return the context to share, or True to have one made."""
        use = self._use
        if use is None or not isinstance(trust_env, bool):
            return True
        try:
            return self._context(use, create, trust_env)
        except Exception as error:
            fault("act resource_pool", error)
            return True

    def _context(self, use: Use, create: Callable[..., ssl.SSLContext], trust_env: bool) -> Any:
        parameters = use.rule.parameters
        assert isinstance(parameters, ResourcePoolParameters)
        # Who replaces the class (as truststore does) or the certificates is not given what was read before.
        key = create, trust_env, ssl.SSLContext, certificate_variables()
        with self._lock:
            kept = self._contexts.get(key)
            if kept is not None and time.monotonic() < kept[0]:
                self.counts["shared"] += 1
                return True if use.shadow else kept[1]
        context = create(verify=True, cert=None, trust_env=trust_env)
        with self._lock:
            self._contexts[key] = time.monotonic() + parameters.max_age_s, context
            self.counts["read"] += 1
        return True if use.shadow else context
