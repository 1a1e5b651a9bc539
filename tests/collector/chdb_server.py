"""A port and a folder as arguments; ClickHouse's HTTP interface on chDB out: enough for the Collector's exporter.

There is no ClickHouse server in the tests, but its engine is: what the exporter sends (its own DDL, its own inserts in
the Native format) is run by that engine. The answers are the engine's.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from chdb.session import Session

ENGINE = threading.Lock()
HELLO = "SELECT displayName(), version(), revision(), timezone()"


def greeting(version: str) -> bytes:
    """Return the answer to a driver's first question, the only one that it wants in the newer framing of blocks.

    The revision given is 0: from then on driver and engine speak the plain Native format.
    """

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    columns = (
        ("displayName()", "String", text("chdb")),
        ("version()", "String", text(version)),
        ("revision()", "UInt32", bytes(4)),
        ("timezone()", "String", text("UTC")),
    )
    information = b"\x01\x00\x02\xff\xff\xff\xff\x00"
    plain_serialization = b"\x00"
    head = information + bytes([len(columns), 1])
    return head + b"".join(text(name) + text(kind) + plain_serialization + value for name, kind, value in columns)


class Interface(BaseHTTPRequestHandler):
    """One request is one statement: in the address, then the body is its rows; or in the body."""

    protocol_version = "HTTP/1.1"
    session: Session

    def do_GET(self) -> None:
        """Answer that the server lives."""
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        """Run the statement."""
        body = self._body()
        statement = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
        try:
            with ENGINE:
                answer = self._insert(statement, body) if statement else self._run(body.decode())
        except Exception as error:
            self._answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": "1"})
        else:
            self._answer(200, answer, {"X-ClickHouse-Format": "Native"})

    def _run(self, statement: str) -> bytes:
        if statement == HELLO:
            return greeting(self.session.query("SELECT version()", "TSVRaw").data().strip())
        return self.session.query(statement, "Native").bytes() or b""

    def _insert(self, statement: str, rows: bytes) -> bytes:
        with tempfile.NamedTemporaryFile(suffix=".native") as file:
            file.write(rows)
            file.flush()
            head = statement[: statement.upper().rindex("FORMAT NATIVE")]
            self.session.query(f"{head} FROM INFILE '{file.name}' FORMAT Native")
        return b""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    Interface.session = Session(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Interface).serve_forever()
