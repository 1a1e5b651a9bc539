"""The shop's database: a file's path in, connections out; SQLite behind a stated network delay."""

import atexit
import os
import sqlite3
import time
from collections import deque
from contextlib import closing, contextmanager
from pathlib import Path

from . import catalogue, latency

SCHEMA = """
CREATE TABLE customers (
  id TEXT PRIMARY KEY, name TEXT, email TEXT, tier TEXT, address TEXT, version INTEGER NOT NULL
);
CREATE TABLE orders (
  id TEXT PRIMARY KEY, customer_id TEXT REFERENCES customers, sku TEXT, quantity INTEGER, status TEXT,
  total_cents INTEGER, refunded_cents INTEGER NOT NULL DEFAULT 0, version INTEGER NOT NULL
);
CREATE INDEX orders_of_customer ON orders (customer_id);
CREATE TABLE notes (
  id INTEGER PRIMARY KEY, customer_id TEXT REFERENCES customers, text TEXT, escalated INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX notes_of_customer ON notes (customer_id);
CREATE VIRTUAL TABLE docs USING fts5 (title, body, tokenize = 'porter');
"""

# The audit trail: every state of a customer or an order, and since when it held (Unix seconds).
AUDIT = """
CREATE TABLE history (
  kind TEXT, id TEXT, version INTEGER, at REAL, address TEXT, status TEXT, total_cents INTEGER, refunded_cents INTEGER
);
CREATE INDEX history_of_row ON history (kind, id, version);
CREATE TRIGGER customers_inserted AFTER INSERT ON customers BEGIN
  INSERT INTO history VALUES ('customer', NEW.id, NEW.version, {now}, NEW.address, NULL, NULL, NULL);
END;
CREATE TRIGGER customers_updated AFTER UPDATE ON customers BEGIN
  INSERT INTO history VALUES ('customer', NEW.id, NEW.version, {now}, NEW.address, NULL, NULL, NULL);
END;
CREATE TRIGGER orders_inserted AFTER INSERT ON orders BEGIN
  INSERT INTO history
  VALUES ('order', NEW.id, NEW.version, {now}, NULL, NEW.status, NEW.total_cents, NEW.refunded_cents);
END;
CREATE TRIGGER orders_updated AFTER UPDATE ON orders BEGIN
  INSERT INTO history
  VALUES ('order', NEW.id, NEW.version, {now}, NULL, NEW.status, NEW.total_cents, NEW.refunded_cents);
END;
""".format(now="(julianday('now') - 2440587.5) * 86400.0")


class Pool:
    """Connections to one database file; each is used by one thread at a time, and by any thread."""

    def __init__(self, path):
        self.path = str(path)
        self._idle = deque()
        self._process = os.getpid()

    @contextmanager
    def connection(self):
        if self._process != os.getpid():  # a connection must not cross a fork
            self._idle, self._process = deque(), os.getpid()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = connect(self.path)
        try:
            yield connection
        finally:
            self._idle.append(connection)

    def close(self):
        while self._idle:
            self._idle.pop().close()


def connect(path):
    """Open the database straight, without the network delay; every statement is a transaction of its own."""
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


_pools = {}


def pool():
    """The pool of the database that SUPPORT_DATABASE names."""
    path = os.environ["SUPPORT_DATABASE"]
    if path not in _pools:
        _pools.setdefault(path, Pool(path))
    return _pools[path]


@atexit.register
def close_all():
    for each in list(_pools.values()):
        each.close()
    _pools.clear()


def query(statement, parameters=(), hop_s=latency.DATABASE_HOP_S):
    """Run one reading statement over the network; returns rows as dictionaries."""
    time.sleep(hop_s)
    with pool().connection() as connection:
        return [dict(row) for row in connection.execute(statement, parameters)]


def execute(statement, parameters=(), hop_s=latency.DATABASE_HOP_S):
    """Run one writing statement over the network; returns the rows it gives back (RETURNING)."""
    return query(statement, parameters, hop_s)


def create(path):
    """Make a fresh database with the shop's customers, orders and documentation."""
    path = Path(path)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA + AUDIT)
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO customers VALUES (:id, :name, :email, :tier, :address, 1)", catalogue.customers()
        )
        connection.executemany(
            "INSERT INTO orders VALUES (:id, :customer_id, :sku, :quantity, :status, :total_cents, 0, 1)",
            catalogue.orders(),
        )
        connection.executemany("INSERT INTO docs VALUES (?, ?)", catalogue.documents().items())
        connection.execute("COMMIT")
    return path
