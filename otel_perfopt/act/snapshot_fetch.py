"""One look at a controller's snapshot over HTTP: an address, a token and the last ETag in, a reply (or an error) out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from otel_perfopt.decide.decision import SNAPSHOT_AGE_HEADER

TIMEOUT_S: Final = 2.0
MOST_S: Final = 5.0
MAX_BYTES: Final = 4 << 20
_CHUNK: Final = 64 << 10
_OK, _NOT_MODIFIED = 200, 304


class RefusedError(Exception):
    """A reply that must not be followed; the text is a word to count it by."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the controller said: a document, or None for the same as before; `age_s` is how old it is by its clock."""

    document: str | None
    etag: str
    age_s: float | None


class SnapshotFetcher:
    """Asks one address. Redirects are never followed, so the token goes nowhere else; nothing of the host's is used.

    `token` is asked for at each look, so that it may be exchanged while the agent runs.
    """

    def __init__(self, url: str, token: Callable[[], str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._parts = urlsplit(url)
        self._token = token
        self._monotonic = monotonic

    def fetch(self, etag: str) -> Reply:
        """Return the reply to one request.

        Raises:
            RefusedError: the reply is no snapshot to follow: another status, type or size, or too slow.
            OSError, HTTPException: nobody answered, or not in HTTP.
            ValueError: the address is none.
        """
        deadline = self._monotonic() + MOST_S
        connection = self._connection()
        try:
            connection.request("GET", self._target(), headers=self._headers(etag))
            return self._read(connection.getresponse(), etag, deadline)
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        host, port = self._parts.hostname, self._parts.port
        if not host or self._parts.scheme not in {"http", "https"}:
            raise ValueError("the address is neither http:// nor https://")
        make = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        return make(host, port, timeout=TIMEOUT_S)

    def _target(self) -> str:
        return (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")

    def _headers(self, etag: str) -> Mapping[str, str]:
        token = self._token()
        return {
            "Accept": "application/json",
            "User-Agent": "otel-perfopt",
            **({"Authorization": f"Bearer {token}"} if token else {}),
            **({"If-None-Match": etag} if etag else {}),
        }

    def _read(self, response: HTTPResponse, etag: str, deadline: float) -> Reply:
        age_s = _number(response.getheader(SNAPSHOT_AGE_HEADER))
        if response.status == _NOT_MODIFIED and etag:
            return Reply(None, etag, age_s)
        if response.status != _OK:
            raise RefusedError(f"status_{response.status}")
        if (response.getheader("Content-Type") or "").partition(";")[0].strip().lower() != "application/json":
            raise RefusedError("foreign")
        return Reply(self._body(response, deadline), response.getheader("ETag") or "", age_s)

    def _body(self, response: HTTPResponse, deadline: float) -> str:
        pieces, size = [], 0
        # Piece by piece: a reply that trickles in must not hold the thread for ever, nor fill the memory.
        while piece := response.read1(_CHUNK):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BYTES:
                raise RefusedError("oversized")
            if self._monotonic() > deadline:
                raise RefusedError("slow")
        if response.length:
            raise RefusedError("cut_off")
        return b"".join(pieces).decode("utf-8")


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0.0 <= value < float("inf") else None
