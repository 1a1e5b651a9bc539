"""What is in force right now: the controller's snapshot file and kill files in, one atomically replaced value out."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.local_permit import EVERYTHING_PERMITTED, LocalPermit
from otel_perfopt.act.selection import NO_PLAN, Plan
from otel_perfopt.decide.decision import Snapshot

SNAPSHOT_FILE = "snapshot.json"
KILL_FILE = "kill"
KILL_FOLDER = "kill.d"

POLL_S = 0.25
# A watcher that has not come round for this long cannot see a kill any more, so nothing is applied.
STALLED_AFTER_NS = 2_000_000_000
FIRST_LOOK_S = 0.2
MAX_SNAPSHOT_BYTES = 4 << 20
MAX_KILLED_POLICIES = 1000

_Identity = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class InForce:
    """One consistent view: the plan to follow, until when (Unix nanoseconds), and what is killed."""

    plan: Plan = NO_PLAN
    expires_ns: int = 0
    killed: bool = False
    killed_policies: frozenset[str] = frozenset()
    generation: int = 0

    def followed(self, now_ns: int) -> bool:
        """Tell whether decisions may be applied: not killed, and within the lease."""
        return not self.killed and now_ns <= self.expires_ns


NOTHING_IN_FORCE = InForce()


class SnapshotSource(Protocol):
    """Where decisions come from; reading it costs attribute reads only."""

    def current(self) -> InForce:
        """Return what is in force; never blocks, never raises."""
        ...

    def stalled(self) -> bool:
        """Tell whether the source is too far behind to see a kill in time."""
        ...

    def subscribe(self, listener: Callable[[InForce], None]) -> None:
        """Tell `listener` what is in force after every look, from the thread that looks; what it raises is counted."""
        ...

    def after_fork(self) -> None:
        """Forget threads and locks of the parent process."""
        ...

    def close(self) -> None:
        """Stop watching."""
        ...


class FixedSource:
    """A source that never changes, for programs that bring their own snapshot."""

    def __init__(self, snapshot: Snapshot | None = None, declared: Mapping[str, str] | None = None) -> None:
        self.in_force = in_force_of(snapshot, declared) if snapshot else NOTHING_IN_FORCE

    def current(self) -> InForce:
        """Return what was given."""
        return self.in_force

    def stalled(self) -> bool:
        """Nothing is awaited."""
        return False

    def subscribe(self, listener: Callable[[InForce], None]) -> None:
        """Tell `listener` now: it never changes."""
        listener(self.in_force)

    def after_fork(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""


def in_force_of(
    snapshot: Snapshot, declared: Mapping[str, str] | None = None, read_at_ns: int | None = None
) -> InForce:
    """Make a snapshot ready to follow; read at a known time, it lasts no longer than its lease from then.

    A controller whose clock is ahead, or an agent's that is behind, would stretch the lease by as much.
    """
    lease_ns = int(snapshot.lease_s * 1e9)
    expires_ns = snapshot.generated_at_ns + lease_ns
    if read_at_ns is not None:
        expires_ns = min(expires_ns, read_at_ns + lease_ns)
    return InForce(Plan.of(snapshot, declared), expires_ns, snapshot.killed, frozenset(), snapshot.generation)


class FileSource:
    """Watches `<home>/snapshot.json`, `<home>/kill` and `<home>/kill.d/<policy>` from a daemon thread.

    A missing snapshot means baseline; a corrupt one keeps the last good one until its lease ends.
    A kill file that cannot be looked at counts as there. `faults` counts what could not be used.
    """

    def __init__(
        self,
        home: Path,
        declared: Mapping[str, str] | None = None,
        *,
        killed: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        poll_s: float = POLL_S,
        permit: LocalPermit = EVERYTHING_PERMITTED,
    ) -> None:
        self._home = home
        self._permit = permit
        self._declared = dict(declared or {})
        self._killed_at_start = killed
        self._clock = clock
        self._poll_s = poll_s
        self.faults: Counter[str] = Counter()
        self._file_identity: _Identity | None = None
        self._from_file = NOTHING_IN_FORCE
        self._in_force = InForce(killed=killed)
        self._thread: threading.Thread | None = None
        self._closed = False
        self._listeners: tuple[Callable[[InForce], None], ...] = ()
        self._reset_synchronisation()

    def _reset_synchronisation(self) -> None:
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._looked = threading.Event()
        self._beat_ns = self._clock.monotonic_ns()

    def start(self) -> None:
        """Start watching and wait at most 0.2 s for the first look, so that the first call is governed."""
        self._ensure_thread()
        self._looked.wait(FIRST_LOOK_S)

    def current(self) -> InForce:
        """Return what is in force."""
        if self._thread is None and not self._closed:
            self._ensure_thread()
        return self._in_force

    def stalled(self) -> bool:
        """Tell whether the watcher has not come round for two seconds."""
        return self._clock.monotonic_ns() - self._beat_ns > STALLED_AFTER_NS

    def subscribe(self, listener: Callable[[InForce], None]) -> None:
        """Tell `listener` what is in force after every look of the watcher, from its thread."""
        self._listeners = (*self._listeners, listener)

    def look_once(self) -> InForce:
        """Look now, on this thread, and return what is in force; no thread is started."""
        self.look()
        return self._in_force

    def after_fork(self) -> None:
        """Forget the parent's thread; the next call starts one here."""
        self._thread = None
        self._reset_synchronisation()

    def close(self) -> None:
        """Stop watching; nothing is in force from here on."""
        self._closed = True
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)
        self._in_force = NOTHING_IN_FORCE

    def _ensure_thread(self) -> None:
        with self._lock:
            if self._thread is not None or self._closed:
                return
            thread = threading.Thread(target=self._watch, args=(self._stop,), name="perfopt-snapshot", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # No thread can be had (limits, shutdown): stay on what is known until it counts as stalled.
                self.faults["thread"] += 1
                return
            self._thread = thread

    def _watch(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.look()
            except Exception:
                self.faults["watch"] += 1
            self._tell()
            stop.wait(self._poll_s)

    def _tell(self) -> None:
        for listener in self._listeners:
            try:
                listener(self._in_force)
            except Exception:  # noqa: PERF203 - each on its own
                self.faults["listener"] += 1

    def look(self) -> None:
        """Look at all files once and publish what they say; called by the watcher."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        from_file = self._snapshot()
        killed = self._killed_at_start or from_file.killed or self._kill_file()
        killed_policies = self._killed_policies()
        found = InForce(from_file.plan, from_file.expires_ns, killed, killed_policies, from_file.generation)
        if not self._closed and found != self._in_force:
            self._in_force = found
        self._beat_ns = self._clock.monotonic_ns()
        self._looked.set()

    def _snapshot(self) -> InForce:
        path = self._home / SNAPSHOT_FILE
        try:
            identity = _identity(path)
        except (FileNotFoundError, NotADirectoryError):
            self._file_identity, self._from_file = None, NOTHING_IN_FORCE
            return self._from_file
        except OSError:
            self.faults["unreadable"] += 1
            return self._from_file
        if identity != self._file_identity:
            self._read(path)
            self._file_identity = identity
        return self._from_file

    def _read(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                # A document beyond the limit is cut, and then is no JSON.
                content = file.read(MAX_SNAPSHOT_BYTES)
            snapshot = self._permitted(Snapshot.from_json(content.decode("utf-8")))
            read = in_force_of(snapshot, self._declared, self._clock.wall_ns())
        except Exception:
            # Whatever is wrong with it (also nesting beyond the recursion limit): the last good one stands.
            self.faults["corrupt"] += 1
            return
        if read.plan.problems:
            self.faults["decision"] += sum(read.plan.problems.values())
        self._from_file = read

    def _permitted(self, snapshot: Snapshot) -> Snapshot:
        permitted, refused = self._permit.permitted(snapshot)
        if refused:
            self.faults["not permitted here"] += refused
        return permitted

    def _kill_file(self) -> bool:
        try:
            (self._home / KILL_FILE).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            self.faults["kill_unreadable"] += 1
        return True

    def _killed_policies(self) -> frozenset[str]:
        try:
            with os.scandir(self._home / KILL_FOLDER) as entries:
                return frozenset(entry.name for entry, _ in zip(entries, range(MAX_KILLED_POLICIES), strict=False))
        except OSError:
            return frozenset()


def _identity(path: Path) -> _Identity:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
