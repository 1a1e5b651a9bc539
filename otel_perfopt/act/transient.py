"""Whether a failed call of a tool may well succeed in a moment: an exception of any library in, yes or no out."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Collection, Mapping
from concurrent.futures import CancelledError
from typing import Final

from otel_perfopt.decide.lasting_errors import LASTING_ERRORS, LASTING_NAMES

_EARLY_STATUS: Final = frozenset({408, 425, 429})
# Servers' errors that say "never": not implemented, a version or an extension that is missing, a loop, a login first.
_LASTING_STATUS: Final = frozenset({501, 505, 506, 508, 510, 511})
_NETWORK_ERRNO: Final = frozenset(
    number
    for name in [
        "ECONNRESET",
        "ECONNREFUSED",
        "ECONNABORTED",
        "EPIPE",
        "ETIMEDOUT",
        "EHOSTUNREACH",
        "EHOSTDOWN",
        "ENETUNREACH",
        "ENETDOWN",
        "ENETRESET",
        "ENOTCONN",
        "ESHUTDOWN",
    ]
    if (number := getattr(errno, name, None)) is not None
)
# What passes, by the library that raises it (the first part of the module's name) and the class or a base of it.
_PASSING: Final[Mapping[str, frozenset[str]]] = {
    "aiohttp": frozenset({"ClientConnectionError", "ClientPayloadError", "ServerTimeoutError"}),
    "anthropic": frozenset({"APIConnectionError"}),
    "anyio": frozenset({"BrokenResourceError", "EndOfStream"}),
    "asyncio": frozenset({"TimeoutError", "IncompleteReadError"}),
    "botocore": frozenset({"HTTPClientError", "EndpointConnectionError", "ConnectionClosedError", "ReadTimeoutError"}),
    "concurrent": frozenset({"TimeoutError"}),
    "h11": frozenset({"RemoteProtocolError"}),
    "http": frozenset({"IncompleteRead", "BadStatusLine"}),
    "httpcore": frozenset({"TimeoutException", "NetworkError", "RemoteProtocolError"}),
    "httpx": frozenset({"TimeoutException", "NetworkError", "RemoteProtocolError"}),
    "openai": frozenset({"APIConnectionError"}),
    "pymongo": frozenset({"AutoReconnect"}),
    "redis": frozenset({"ConnectionError", "TimeoutError"}),
    "requests": frozenset({"Timeout", "ConnectionError", "ChunkedEncodingError"}),
    "urllib3": frozenset({"TimeoutError", "ProtocolError"}),
}
# Derived from what passes, and yet the same tomorrow: certificates, addresses and passwords that are wrong.
_LASTING_KINDS: Final = frozenset(
    {
        "AuthenticationError",
        "AuthorizationError",
        "ClientConnectorCertificateError",
        "ClientConnectorSSLError",
        "InvalidURL",
        "SSLError",
        "WrongServer",
    }
)
_GRPC_PASSING: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"})
_MCP_PASSING: Final = frozenset({-32000, -32001, 408})  # the connection was closed; the request took too long
_DEEPEST: Final = 5


def may_pass(error: BaseException, named: Collection[str] = ()) -> bool:
    """Tell whether the same call may succeed when it is made again soon.

    Time-outs, lost and refused connections, and HTTP's 408, 425, 429 and 5xx where the exception carries the
    status; of OSError only what the network raises. `named` adds classes by name (`MyError` or
    `package.module.MyError`; their subclasses too). Never what a program or a file system got wrong, a
    certificate, a cancellation or an interruption: made again, those fail again.
    """
    if not isinstance(error, Exception) or isinstance(error, CancelledError):
        return False
    if named and not named_names(error).isdisjoint(named):
        return True
    return _passes(error, _DEEPEST)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an exception carries, in any of the places where clients put it."""
    response = getattr(error, "response", None)
    found = [getattr(error, name, None) for name in ("status_code", "status", "http_status", "code")]
    found += [getattr(response, name, None) for name in ("status_code", "status")]
    if isinstance(response, Mapping):
        told = response.get("ResponseMetadata")
        found.append(told.get("HTTPStatusCode") if isinstance(told, Mapping) else None)
    return next(
        (int(one) for one in found if type(one) is not bool and isinstance(one, int) and 400 <= one < 600), None
    )


def named_names(error: BaseException) -> set[str]:
    """Return the names by which a policy may mean an exception: those of its class and bases, short and in full."""
    kinds = [kind for kind in type(error).__mro__ if kind.__name__ not in LASTING_NAMES]
    return {
        name for kind in kinds for name in (kind.__name__, kind.__qualname__, f"{kind.__module__}.{kind.__qualname__}")
    }


def _passes(error: BaseException, depth: int) -> bool:
    if isinstance(error, LASTING_ERRORS) or _is_certificate(error):
        return False
    status = status_of(error)
    if status is not None:
        return status in _EARLY_STATUS or (status >= 500 and status not in _LASTING_STATUS)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return True  # the connection was cut, by whomever; other errors of TLS are the same tomorrow
    if any(kind.__name__ in _LASTING_KINDS for kind in type(error).__mro__):
        return False
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException) and depth:
        # urllib's and urllib3's exceptions around what really happened.
        return _passes(reason, depth - 1)
    return _of_network(error) or _of_library(error) or _of_protocol(error)


def _of_network(error: BaseException) -> bool:
    if isinstance(error, (TimeoutError, ConnectionError)):
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError) and error.errno in _NETWORK_ERRNO


def _of_library(error: BaseException) -> bool:
    return any(
        kind.__name__ in _PASSING.get(kind.__module__.partition(".")[0], frozenset()) for kind in type(error).__mro__
    )


def _of_protocol(error: BaseException) -> bool:
    roots = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if "grpc" in roots:
        code = getattr(error, "code", None)
        return callable(code) and getattr(code(), "name", "") in _GRPC_PASSING
    return "mcp" in roots and getattr(getattr(error, "error", None), "code", None) in _MCP_PASSING


def _is_certificate(error: BaseException) -> bool:
    """Tell whether a wrong certificate is behind it: clients wrap that as if a connection had failed."""
    seen: BaseException | None = error
    for _ in range(_DEEPEST):
        if seen is None:
            return False
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
