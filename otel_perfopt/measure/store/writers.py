"""Who is writing to a store: beginnings and ends of writing in, whether rows may stand in it twice out."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from otel_perfopt.measure.store.connection import Connection

_OPEN = "SELECT Writer FROM perfopt_writers FINAL WHERE Open = 1"
# Alive as long as this process is.
_mine: set[str] = set()
_ABANDONED = _OPEN + " AND At < now64(9) - toIntervalSecond({age:UInt32})"
ABANDONED_AFTER_S = 24 * 3600


@contextmanager
def writing(connection: Connection) -> Iterator[str]:
    """Mark that rows may stand twice from here to the end; without an orderly end the mark stays.

    Yields the writer's name.
    """
    writer = uuid.uuid4().hex
    connection.writer_names.add(writer)
    _mine.add(writer)
    _mark(connection, writer, is_open=True)
    try:
        yield writer
        _mark(connection, writer, is_open=False)
    finally:
        _mine.discard(writer)


def writers(connection: Connection) -> frozenset[str]:
    """Return who has begun to write and not ended, crashed ones included."""
    return frozenset(str(name) for (name,) in connection.rows(_OPEN))


def others_since(connection: Connection, writer: str) -> frozenset[str]:
    """Return who else wrote at any time since `writer` began, over other connections than this one."""
    rows = connection.rows(
        "SELECT DISTINCT Writer FROM perfopt_writers WHERE At >= "
        "(SELECT min(At) FROM perfopt_writers WHERE Writer = {writer:String}) OR Open = 1",
        {"writer": writer},
    )
    return frozenset(str(name) for (name,) in rows) - connection.writer_names


def abandoned(connection: Connection) -> frozenset[str]:
    """Return the writers that crashed: in an embedded store all (nobody else can write), else those long silent."""
    if connection.address.embedded:
        return writers(connection) - _mine
    old = connection.rows(_ABANDONED, {"age": ABANDONED_AFTER_S})
    return frozenset(str(name) for (name,) in old) - _mine


def forget(connection: Connection, names: frozenset[str]) -> None:
    """End what crashed writers left open."""
    for name in names:
        _mark(connection, name, is_open=False)


def _mark(connection: Connection, writer: str, *, is_open: bool) -> None:
    connection.run(
        "INSERT INTO perfopt_writers (Writer, Host, Pid, Open) "
        "SELECT {writer:String}, {host:String}, {pid:UInt64}, {open:UInt8}",
        {"writer": writer, "host": socket.gethostname(), "pid": os.getpid(), "open": int(is_open)},
    )
