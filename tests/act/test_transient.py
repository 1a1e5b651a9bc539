"""Which failures of tools pass by themselves: real exceptions of real libraries, and what must never be tried again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import http.client
import json
import socket
import ssl
import subprocess
import urllib.error
from email.message import Message

import httpx
import pytest

from otel_perfopt.act.transient import may_pass, status_of

REQUEST = httpx.Request("GET", "http://shop/stock")


class BusyError(Exception):
    """A tool's own word for "come back later"."""


class VeryBusyError(BusyError):
    """A kind of it."""


class OddAnswerError(ValueError):
    """A tool's own kind of a bad value."""


def of_httpx(status):
    return httpx.HTTPStatusError(str(status), request=REQUEST, response=httpx.Response(status, request=REQUEST))


def of_requests(status):
    requests = pytest.importorskip("requests")
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


def of_urllib(status):
    return urllib.error.HTTPError("http://shop", status, "", Message(), None)


def of_openai(status):
    openai = pytest.importorskip("openai")
    return openai.APIStatusError("", response=httpx.Response(status, request=REQUEST), body=None)


def with_status(**fields):
    error = BusyError()
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def behind(cause, error):
    error.__cause__ = cause
    return error


PASSING = {
    "timeout": TimeoutError(),
    "asyncio timeout": asyncio.TimeoutError(),
    "future timeout": concurrent.futures.TimeoutError(),
    "reset": ConnectionResetError(),
    "refused": ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    "broken pipe": BrokenPipeError(),
    "unreachable": OSError(errno.EHOSTUNREACH, "no route"),
    "name server": socket.gaierror(socket.EAI_AGAIN, "try again"),
    "tls cut": ssl.SSLEOFError(8, "EOF"),
    "server left": http.client.RemoteDisconnected(),
    "cut short": http.client.IncompleteRead(b""),
    "httpx timeout": httpx.ReadTimeout("", request=REQUEST),
    "httpx connect": httpx.ConnectError("", request=REQUEST),
    "httpx protocol": httpx.RemoteProtocolError("", request=REQUEST),
    "requests timeout": ("requests", lambda requests: requests.ReadTimeout()),
    "requests connection": ("requests", lambda requests: requests.ConnectionError()),
    "requests cut": ("requests", lambda requests: requests.exceptions.ChunkedEncodingError()),
    "urllib3 timeout": ("urllib3", lambda urllib3: urllib3.exceptions.ReadTimeoutError(None, "", "")),
    "urllib3 protocol": ("urllib3", lambda urllib3: urllib3.exceptions.ProtocolError()),
    "urllib3 retries": ("urllib3", lambda urllib3: urllib3.exceptions.MaxRetryError(None, "", ConnectionResetError())),
    "urllib": urllib.error.URLError(ConnectionRefusedError(errno.ECONNREFUSED, "")),
    "openai": ("openai", lambda openai: openai.APIConnectionError(request=REQUEST)),
    "redis": ("redis", lambda redis: redis.ConnectionError()),
    "mcp timeout": ("mcp", lambda mcp: mcp.MCPError(-32001, "timed out")),
    "aws": with_status(response={"ResponseMetadata": {"HTTPStatusCode": 503}}),
    "status": with_status(status=502),
    "code": with_status(code=504),
}
LASTING = {
    "value": ValueError(),
    "type": TypeError(),
    "key": KeyError("a"),
    "permission": PermissionError(errno.EACCES, ""),
    "file": FileNotFoundError(errno.ENOENT, ""),
    "disk": OSError(errno.ENOSPC, "full"),
    "exists": FileExistsError(errno.EEXIST, ""),
    "plain": Exception("connection timeout 503"),
    "own": BusyError(),
    "runtime": RuntimeError(),
    "json": json.JSONDecodeError("", "", 0),
    "no such host": socket.gaierror(socket.EAI_NONAME, "unknown"),
    "certificate": ssl.SSLCertVerificationError(1, "expired"),
    "httpx certificate": behind(ssl.SSLCertVerificationError(1, ""), httpx.ConnectError("", request=REQUEST)),
    "requests certificate": ("requests", lambda requests: requests.exceptions.SSLError()),
    "requests address": ("requests", lambda requests: requests.exceptions.InvalidURL()),
    "requests json": ("requests", lambda requests: requests.exceptions.JSONDecodeError("", "", 0)),
    "httpx address": httpx.UnsupportedProtocol("", request=REQUEST),
    "urllib3 certificate": (
        "urllib3",
        lambda urllib3: urllib3.exceptions.MaxRetryError(None, "", urllib3.exceptions.SSLError()),
    ),
    "redis password": ("redis", lambda redis: redis.AuthenticationError()),
    "mcp arguments": ("mcp", lambda mcp: mcp.MCPError(-32602, "invalid")),
    "command": subprocess.CalledProcessError(1, "ls"),
    "process timeout": subprocess.TimeoutExpired("ls", 1),
    "yes": with_status(code=True),
    "exit code": with_status(code=1),
}


def made(case):
    """Return the exception of a case; those of libraries only where they are installed."""
    return case[1](pytest.importorskip(case[0])) if isinstance(case, tuple) else case


@pytest.mark.parametrize("name", PASSING)
def test_what_passes(name):
    """Time-outs, lost connections and servers' own errors may go well a moment later."""
    assert may_pass(made(PASSING[name]))


@pytest.mark.parametrize("name", LASTING)
def test_what_does_not_pass(name):
    """Mistakes, missing files, rights, certificates and addresses are the same a moment later."""
    assert not may_pass(made(LASTING[name]))


@pytest.mark.parametrize("make", [of_httpx, of_requests, of_urllib, of_openai])
@pytest.mark.parametrize(
    ("status", "passes"),
    [
        (400, False),
        (401, False),
        (403, False),
        (404, False),
        (408, True),
        (409, False),
        (422, False),
        (429, True),
        (500, True),
        (501, False),
        (502, True),
        (503, True),
        (504, True),
        (505, False),
        (511, False),
        (529, True),
    ],
)
def test_the_status_decides(make, status, passes):
    """Of an exception that carries an HTTP status nothing else counts, whichever client raised it."""
    error = make(status)
    assert (may_pass(error), status_of(error)) == (passes, status)
    if isinstance(error, urllib.error.HTTPError):
        error.close()


def test_what_a_policy_names_passes():
    """By short name or in full, and what is derived from it; also a tool's own kind of a bad value."""
    assert may_pass(BusyError(), ("BusyError",))
    assert may_pass(VeryBusyError(), (f"{__name__}.BusyError",))
    assert not may_pass(BusyError(), ("VeryBusyError",))
    assert may_pass(OddAnswerError(), ("OddAnswerError",))


@pytest.mark.parametrize("name", ["Exception", "ValueError", "KeyError", "OSError", "LookupError", "object"])
def test_no_name_makes_everything_pass(name):
    """Names that mean nearly everything, or a program's own mistakes, mean nothing here."""
    for error in (ValueError(), KeyError(), FileNotFoundError(), OddAnswerError(), BusyError()):
        assert not may_pass(error, (name,))


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), concurrent.futures.CancelledError(), KeyboardInterrupt(), SystemExit()]
)
def test_interruptions_never_pass(error):
    """Whatever a policy says: who cancels means it."""
    assert not may_pass(error, (type(error).__name__, "CancelledError"))
