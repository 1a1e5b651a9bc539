"""Faults on the way to a back end: its address, a kind and a rate in, an address that fails that often out."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

RETRY_AFTER_MS = 300
SLOW_S = 6.0
DENSE = ("content-length", "transfer-encoding", "content-encoding", "connection", "date", "server")


@dataclass(frozen=True)
class Fault:
    """What a failing request gets: a status with headers, or (status 0) its own answer after `delay_s`."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    on_tools: bool = False


FAULTS = {
    "429": Fault(429, {"retry-after-ms": str(RETRY_AFTER_MS)}),
    "500": Fault(500),
    "timeout": Fault(504, delay_s=1.0),
    "slow": Fault(delay_s=SLOW_S),
    "tool": Fault(500, on_tools=True),
}


class Dice:
    """Which requests fail: the same step of the same conversation, asked the same time again, fares alike everywhere."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.asked: Counter[str] = Counter()
        self.failed = 0
        self._lock = threading.Lock()

    def fails(self, step: str) -> bool:
        """Decide one request, and count it."""
        with self._lock:
            again = self.asked[step]
            self.asked[step] += 1
            digest = blake2b(f"{step} {again}".encode(), digest_size=8).digest()
            failed = int.from_bytes(digest, "big") / 2**64 < self.rate
            self.failed += failed
        return failed


def model_step(path: str, body: bytes) -> str:
    """Name a step of a conversation by what does not differ between two ways to have it; empty for no chat."""
    if "chat/completions" not in path:
        return ""
    request = json.loads(body)
    return f"{(request.get('metadata') or {}).get('session_id')} {len(request['messages'])}"


def tool_step(path: str, body: bytes) -> str:
    """Name a call of the shop's service by its address."""
    return path + body.decode("utf-8", "replace")


class _Quiet(ThreadingHTTPServer):
    """Says nothing of an agent that ends with a twin of a call under way."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Tell of anything but a connection that is gone."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def faulty(address: str, fault: Fault, dice: Dice, step_of: Callable[[str, bytes], str]) -> Iterator[str]:
    """Serve a back end under another address of this machine, on which requests fail."""
    base = httpx.URL(address)
    client = httpx.Client(timeout=60.0, limits=httpx.Limits(max_connections=200))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            step = step_of(self.path, body)
            failed = bool(step) and dice.fails(step)
            if failed:
                time.sleep(fault.delay_s)
            if failed and fault.status:
                self.answer(
                    fault.status,
                    {**fault.headers, "content-type": "application/json"},
                    b'{"error": {"message": "injected"}}',
                )
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", *DENSE)}
            there = base.copy_with(raw_path=self.path.encode())
            reply = client.request(self.command, there, content=body, headers=headers)
            self.answer(reply.status_code, {"content-type": reply.headers.get("content-type", "")}, reply.content)

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True  # whoever asked has gone

        do_GET = do_POST = handle_one  # noqa: N815 - the standard library's names

    server = _Quiet(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{base.path.rstrip('/')}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        client.close()
