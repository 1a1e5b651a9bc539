"""A folder as argument; ClickHouse's HTTP interface on chDB out: what a client of a server sends, run by the engine.

No recent ClickHouse server can be installed where these tests run, but its engine can: statements, bound values
(`param_…`), settings, databases and inserts come over HTTP as for a server, and the answers are the engine's. The
port is printed. It ends when its standard input does.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import chdb

ENGINE = threading.Lock()
# What says how a request travels; everything else in an address is a setting.
TRANSPORT = frozenset(
    {
        "query", "database", "default_format", "wait_end_of_query", "session_id", "query_id", "buffer_size", "compress",
        "decompress", "enable_http_compression", "send_progress_in_http_headers", "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close", "client_protocol_version",
    }
)  # fmt: skip
INSERT = re.compile(r"^\s*INSERT\s+INTO\s+(?P<into>.*?)\s+FORMAT\s+(?P<format>\w+)\s*$", re.IGNORECASE | re.DOTALL)
ERROR = re.compile(r"Code: (\d+)")


class Interface(BaseHTTPRequestHandler):
    """One request is one statement: the body, or the address and then the body is its rows."""

    protocol_version = "HTTP/1.1"
    engine: chdb.state.sqlitelike.Connection

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer that the server lives."""
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        """Run the statement."""
        body = self._body()
        said = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        try:
            with ENGINE:
                answer = self._run(said, body)
        except Exception as error:
            text = str(error)
            code = ERROR.search(text)
            self._answer(500, text.encode(), {"X-ClickHouse-Exception-Code": code.group(1) if code else "1"})
        else:
            self._answer(200, answer, {"X-ClickHouse-Summary": "{}"})

    def _run(self, said: dict[str, str], body: bytes) -> bytes:
        self.engine.query(f"USE `{said.get('database') or 'default'}`", "TabSeparated")
        for name, value in said.items():
            if name not in TRANSPORT and not name.startswith("param_"):
                self.engine.query(f"SET {name} = '{value}'", "TabSeparated")
        bound = {name[len("param_") :]: value for name, value in said.items() if name.startswith("param_")}
        statement = said.get("query", "")
        insert = INSERT.match(statement)
        if insert is not None:
            return self._insert(insert.group("into"), insert.group("format"), body)
        sql = "\n".join(part for part in (statement, body.decode()) if part)
        return self.engine.query(sql, said.get("default_format", "TabSeparated"), params=bound).bytes() or b""

    def _insert(self, into: str, rows_format: str, rows: bytes) -> bytes:
        with tempfile.NamedTemporaryFile(suffix=".rows") as file:
            file.write(rows)
            file.flush()
            self.engine.query(f"INSERT INTO {into} FROM INFILE '{file.name}' FORMAT {rows_format}", "TabSeparated")
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


def main() -> None:
    Interface.engine = chdb.connect(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Interface)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
