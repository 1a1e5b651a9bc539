"""The snapshot for a fleet: a home folder and a token in, a small web application that serves `snapshot.json` out."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from otel_perfopt.decide.decision import SNAPSHOT_AGE_HEADER, SNAPSHOT_PATH, Snapshot
from otel_perfopt.decide.kill_switch import KillSwitch
from otel_perfopt.decide.publish import SNAPSHOT_FILE
from otel_perfopt.errors import PerfoptError

# The snapshot's file as it was read, and what was switched off then.
_Key = tuple[int, int, int, bool, frozenset[str]]

_START_S = 10.0
_RETRY_S = "2"


@dataclass(frozen=True, slots=True)
class _Served:
    """One document as it goes out, with the tag of all that matters in it: not of the time it was renewed."""

    document: str
    etag: str
    generated_at_ns: int


def snapshot_app(home: Path, token: str, clock: Callable[[], int] = time.time_ns) -> Starlette:
    """Return the application: `GET /v1/snapshot` with ETag, age and bearer token, and `GET /healthz` without.

    Each request reads what the folder says now, kill files included, so that a kill waits for no turn of the
    controller. A lease goes on with a 304 too: its age header says since when.
    """
    shelf = _Shelf(home)

    async def snapshot(request: Request) -> Response:
        if not _may_read(request, token):
            return PlainTextResponse(
                "say who you are: Authorization: Bearer TOKEN\n", 401, {"WWW-Authenticate": "Bearer"}
            )
        served = shelf.now()
        if served is None:
            return PlainTextResponse("no snapshot yet\n", 503, {"Retry-After": _RETRY_S})
        age_s = max(0.0, (clock() - served.generated_at_ns) / 1e9)
        # Nothing in between may keep it: an old age would lengthen the lease.
        headers = {"ETag": served.etag, "Cache-Control": "no-store", SNAPSHOT_AGE_HEADER: f"{age_s:.3f}"}
        if request.headers.get("if-none-match") == served.etag:
            return Response(status_code=304, headers=headers)
        return Response(served.document, media_type="application/json", headers=headers)

    async def healthz(_request: Request) -> Response:
        served = shelf.now()
        return PlainTextResponse("ok\n" if served is not None else "no snapshot yet\n", 200 if served else 503)

    return Starlette(routes=[Route(SNAPSHOT_PATH, snapshot), Route("/healthz", healthz)])


@contextmanager
def served(app: Starlette, host: str, port: int) -> Iterator[int]:
    """Serve an application from a thread for as long as the block runs; yields the port (0 asks for a free one).

    Raises:
        PerfoptError: the address cannot be used.
    """
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=(server,), name="perfopt-snapshot-server", daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_S
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    if not server.started:
        raise PerfoptError(f"cannot serve the snapshot at {host}:{port}; is the address taken?")
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(_START_S)


def read_token(file: Path) -> str:
    """Return the token in a file.

    Raises:
        PerfoptError: it cannot be read, is empty, or is too short to be a secret.
    """
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise PerfoptError(f"cannot read the token in {file}: {error}") from error
    if len(token) < 16:
        raise PerfoptError(f"the token in {file} is shorter than 16 characters; make one: openssl rand -hex 32")
    return token


def _run(server: uvicorn.Server) -> None:
    # uvicorn ends the interpreter where it cannot bind; from a thread that would only be noise.
    try:
        server.run()
    except SystemExit:
        return


def _may_read(request: Request, token: str) -> bool:
    given = request.headers.get("authorization", "")
    return not token or hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


class _Shelf:
    """Keeps the document ready for as long as file and kill switch stay as they are."""

    def __init__(self, home: Path) -> None:
        self._file = home / SNAPSHOT_FILE
        self._switch = KillSwitch(home)
        self._key: _Key | None = None
        self._served: _Served | None = None

    def now(self) -> _Served | None:
        """Return what to serve; the last good document where the present one cannot be read."""
        try:
            found = self._file.stat()
            off = self._switch.policies()
            key = (found.st_ino, found.st_mtime_ns, found.st_size, self._switch.everything, off)
            if key != self._key:
                snapshot = Snapshot.from_json(self._file.read_text(encoding="utf-8"))
                self._served = _ready(snapshot, off, killed=key[3])
                self._key = key
        except FileNotFoundError:
            self._served = self._key = None
        except (OSError, ValueError):
            return self._served
        return self._served


def _ready(snapshot: Snapshot, off: frozenset[str], *, killed: bool) -> _Served:
    decisions = tuple(decision for decision in snapshot.decisions if decision.policy not in off)
    said = replace(snapshot, killed=snapshot.killed or killed, decisions=decisions)
    tag = sha256(replace(said, generated_at_ns=0).to_json().encode()).hexdigest()[:32]
    return _Served(said.to_json(), f'"{tag}"', snapshot.generated_at_ns)
