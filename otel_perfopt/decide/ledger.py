"""The ledger: entries in, an append-only, hash-chained, fsynced file that several processes may write out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import RLock

from filelock import FileLock, Timeout

from otel_perfopt.decide.durable_file import append_durably
from otel_perfopt.decide.ledger_entry import FIRST_PREVIOUS, LedgerEntry, entry_from_line
from otel_perfopt.errors import LedgerError

REPAIR_EVENT = "repair"
_LOCK_TIMEOUT_S = 10.0
_ACTOR = "perfopt"


class LedgerMovedError(LedgerError):
    """Somebody else wrote since the caller last read; read again and decide again."""


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """Where the chain stands: entries so far, the last one's hash, and bytes of a torn line after it."""

    sequence: int
    hash: str
    torn_bytes: int = 0


class Ledger:
    """An append-only file of entries.

    One object keeps the entries it has read in memory; `refresh` takes in what other processes
    wrote. Every failure raises `LedgerError` and leaves file and memory as they were.
    """

    def __init__(self, path: Path, lock_timeout_s: float = _LOCK_TIMEOUT_S) -> None:
        self.path = path
        self._entries: list[LedgerEntry] = []
        self._end = 0
        self._torn_bytes = 0
        self._memory_lock = RLock()
        self._lock = FileLock(f"{path}.lock", timeout=lock_timeout_s)

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """All entries as of the last `refresh` or `append`."""
        return tuple(self._entries)

    @property
    def head(self) -> LedgerHead:
        """Where the chain stands as of the last `refresh` or `append`."""
        last = self._entries[-1] if self._entries else None
        return LedgerHead(len(self._entries), last.hash if last else FIRST_PREVIOUS, self._torn_bytes)

    def refresh(self) -> tuple[LedgerEntry, ...]:
        """Read what was written since the last time, check its chain and return only that.

        A last line without its newline was never acknowledged and is not read.

        Raises:
            LedgerError: the file cannot be read, is shorter than before, or an entry does not fit the chain.
        """
        with self._memory_lock:
            tail = self._read_tail()
            new = self._check(tail)
            self._entries.extend(new)
            self._torn_bytes = len(tail) - (tail.rfind(b"\n") + 1)
            self._end += len(tail) - self._torn_bytes
            return tuple(new)

    def verify(self) -> LedgerHead:
        """Check the whole file from its first line and return where the chain stands.

        Raises:
            LedgerError: with file and line of the first entry that does not fit.
        """
        fresh = Ledger(self.path)
        fresh.refresh()
        return fresh.head

    def append(self, *entries: LedgerEntry, expected_head: str | None = None) -> tuple[LedgerEntry, ...]:
        """Write entries in one go, wait until they are on disk and return them in their places.

        With `expected_head` (a hash) nothing is written when somebody else wrote in between.

        Raises:
            LedgerMovedError: the head is not the expected one; memory is up to date with the file.
            LedgerError: lock, disk or chain failed; nothing was written.
        """
        with self._memory_lock, self._locked():
            self.refresh()
            if expected_head is not None and expected_head != self.head.hash:
                raise LedgerMovedError(f"{self.path} was written by another process meanwhile")
            if self._torn_bytes:
                self._repair(max((entry.time_ns for entry in entries), default=0))
            return self._write(entries)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        message = f"cannot lock the ledger {self.path}"
        with _reported(message):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout as error:
                raise LedgerError(f"{message}: another process has held it for {self._lock.timeout:g} s") from error
        try:
            yield
        finally:
            self._lock.release()

    def _read_tail(self) -> bytes:
        with _reported(f"cannot read the ledger {self.path}"):
            if not self.path.exists():
                size, tail = 0, b""
            else:
                with self.path.open("rb") as stream:
                    size = os.fstat(stream.fileno()).st_size
                    stream.seek(self._end)
                    tail = stream.read()
        if size < self._end:
            raise LedgerError(f"{self.path} is shorter than it was: entries were removed; restore the file")
        return tail

    def _check(self, tail: bytes) -> list[LedgerEntry]:
        lines = tail.split(b"\n")[:-1]
        previous, found = self.head.hash, []
        for number, line in enumerate(lines, start=len(self._entries) + 1):
            try:
                entry = entry_from_line(line)
            except (ValueError, RecursionError) as error:
                raise LedgerError(f"{self.path}:{number}: {error}") from error
            if entry.sequence != number or entry.previous != previous:
                raise LedgerError(f"{self.path}:{number}: does not follow the line before: something was cut or moved")
            previous = entry.hash
            found.append(entry)
        return found

    def _write(self, entries: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
        head = self.head
        sequence, previous, placed = head.sequence, head.hash, []
        with _reported(f"cannot write the ledger {self.path}; nothing was changed"):
            for entry in entries:
                sequence += 1
                placed.append(entry.chained(sequence, previous))
                previous = placed[-1].hash
            lines = b"".join(entry.to_line() for entry in placed)
            append_durably(self.path, lines, self._end)
        self._entries.extend(placed)
        self._end += len(lines)
        return tuple(placed)

    def _repair(self, time_ns: int) -> None:
        """Move a torn last line into a file of its own and say so in the ledger."""
        with _reported(f"cannot repair the torn last line of {self.path}; nothing was changed"):
            torn = self.path.read_bytes()[self._end :]
            side = self.path.with_name(f"{self.path.name}.torn-{self.head.sequence + 1}")
            append_durably(side, torn, 0)
            os.truncate(self.path, self._end)
        self._torn_bytes = 0
        details = {"bytes": len(torn), "file": side.name, "sha256": sha256(torn).hexdigest()}
        reason = "the last line was cut off while it was written; it had not been acknowledged"
        self._write([LedgerEntry(time_ns, _ACTOR, REPAIR_EVENT, "*", reason=reason, details=details)])


@contextmanager
def _reported(message: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise LedgerError(f"{message}: {error}") from error
