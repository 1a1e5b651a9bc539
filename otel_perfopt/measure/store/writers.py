"""Who is writing to a store: beginnings and ends of writing in, whether rows may stand in it twice out."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from otel_perfopt.measure.store.connection import Connection

_OPEN = "SELECT Writer FROM perfopt_writers FINAL WHERE Open = 1"
_ABANDONED = _OPEN + " AND At < now64(9) - toIntervalSecond({age:UInt32})"
ABANDONED_AFTER_S = 3600


@contextmanager
def writing(connection: Connection) -> Iterator[str]:
    """Mark that rows may stand twice from here to the end; without an orderly end the mark stays.

    Yields the writer's name, which `beat` keeps young.
    """
    writer = uuid.uuid4().hex
    _mark(connection, writer, is_open=True)
    yield writer
    _mark(connection, writer, is_open=False)


def beat(connection: Connection, writer: str) -> None:
    """Say that the writer still lives."""
    _mark(connection, writer, is_open=True)


def writers(connection: Connection) -> frozenset[str]:
    """Return who has begun to write and not ended, crashed ones included."""
    return frozenset(str(name) for (name,) in connection.rows(_OPEN))


def abandoned(connection: Connection) -> frozenset[str]:
    """Return the writers that crashed: in an embedded store all (nobody else can write), else those long silent."""
    if connection.address.embedded:
        return writers(connection)
    return frozenset(str(name) for (name,) in connection.rows(_ABANDONED, {"age": ABANDONED_AFTER_S}))


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
