"""What is in force in a fleet: the controller's snapshot over HTTP and this machine's kill files in, one value out."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.local_permit import EVERYTHING_PERMITTED, LocalPermit
from otel_perfopt.act.selection import parse_effects
from otel_perfopt.act.snapshot_fetch import RefusedError, Reply, SnapshotFetcher
from otel_perfopt.act.snapshot_source import (
    FIRST_LOOK_S,
    NOTHING_IN_FORCE,
    POLL_S,
    FileSource,
    InForce,
    in_force_of,
)
from otel_perfopt.decide.decision import Snapshot
from otel_perfopt.settings import AgentSettings

# With the jitter at most 1.75 s, so that a kill is seen within the two seconds that are promised.
FETCH_S = 1.4
MOST_BACKOFF_S = 30.0
_JITTER = (0.75, 1.25)
# The module's own generator is the host's: drawing from it would change what a seeded program does.
_UNSEEDED = random.SystemRandom()
_MOST_TOKEN_BYTES = 4096


def source_of(settings: AgentSettings) -> FileSource:
    """Return the source the settings name, started: over HTTP where there is an address, else the file."""
    declared = parse_effects(settings.effects)
    permit = LocalPermit(_names(settings.optimizations), _names(settings.hosts))
    source = (
        HttpSource(
            settings.snapshot_url,
            settings.home,
            declared,
            token=token_reader(settings.snapshot_token, settings.snapshot_token_file),
            killed=settings.killed,
            fetch_s=settings.snapshot_poll_s,
            permit=permit,
        )
        if settings.snapshot_url
        else FileSource(settings.home, declared, killed=settings.killed, permit=permit)
    )
    source.start()
    return source


def _names(named: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if named is None else frozenset(named)


def token_reader(token: str, file: Path | None) -> Callable[[], str]:
    """Return what gives the token: the file's first line as it is now, else the one given."""

    def read() -> str:
        if file is None:
            return token
        try:
            with file.open("rb") as stream:
                return stream.read(_MOST_TOKEN_BYTES).decode("ascii", "ignore").strip()
        except OSError:
            return token

    return read


class HttpSource(FileSource):
    """Asks the controller every `fetch_s` seconds, give or take a quarter, from a daemon thread of its own.

    Failures back off up to 30 s; whatever cannot be used keeps the last good snapshot until its lease
    ends. The lease runs by this machine's clock from the snapshot's age, so clocks need not agree. Kill
    files under `home` are watched beside it, as fast as with a file.
    """

    def __init__(
        self,
        url: str,
        home: Path,
        declared: Mapping[str, str] | None = None,
        *,
        token: Callable[[], str] = str,
        killed: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        poll_s: float = POLL_S,
        fetch_s: float = FETCH_S,
        jitter: Callable[[float, float], float] = _UNSEEDED.uniform,
        permit: LocalPermit = EVERYTHING_PERMITTED,
    ) -> None:
        self._fetcher = SnapshotFetcher(url, token)
        self._fetch_s = fetch_s
        self._jitter = jitter
        self._fetched: InForce = NOTHING_IN_FORCE
        self._etag = ""
        self._lease_ns = 0
        self._failures = 0
        self._fetch_thread: threading.Thread | None = None
        self._asked = threading.Event()
        super().__init__(home, declared, killed=killed, clock=clock, poll_s=poll_s, permit=permit)

    def start(self) -> None:
        """Start watching and wait at most 0.2 s for the first reply, so that the first call is governed."""
        self._ensure_thread()
        self._asked.wait(FIRST_LOOK_S)

    def after_fork(self) -> None:
        """Forget the parent's threads; the next call starts them here."""
        self._fetch_thread = None
        self._asked = threading.Event()
        super().after_fork()

    def fetch(self) -> None:
        """Ask once and publish what came; called by the fetching thread."""
        started_ns = self._clock.wall_ns()
        try:
            self._follow(self._fetcher.fetch(self._etag), started_ns)
            self._failures = 0
        except RefusedError as error:
            self._failed(str(error))
        except Exception as error:
            # Nobody answered, or what came is no snapshot: the last good one stands until its lease ends.
            self._failed("corrupt" if isinstance(error, ValueError) else "unreachable")
        finally:
            self._asked.set()
        self.look()

    def _follow(self, reply: Reply, started_ns: int) -> None:
        if reply.document is None:
            if reply.age_s is not None:
                lease_ns = self._lease_ns - int(reply.age_s * 1e9)
                self._fetched = replace(self._fetched, expires_ns=started_ns + lease_ns)
            return
        snapshot = self._permitted(Snapshot.from_json(reply.document))
        read = in_force_of(snapshot, self._declared)
        lease_ns = int(snapshot.lease_s * 1e9)
        if reply.age_s is not None:
            read = replace(read, expires_ns=started_ns + lease_ns - int(reply.age_s * 1e9))
        # A controller never goes back: an older one is another controller's, until this one has been silent.
        if read.generation < self._fetched.generation and started_ns <= self._fetched.expires_ns:
            raise RefusedError("foreign")
        if read.plan.problems:
            self.faults["decision"] += sum(read.plan.problems.values())
        self._lease_ns, self._fetched, self._etag = lease_ns, read, reply.etag

    def _failed(self, word: str) -> None:
        self._failures += 1
        self.faults[word] += 1

    def _snapshot(self) -> InForce:
        return self._fetched

    def _ensure_thread(self) -> None:
        super()._ensure_thread()
        with self._lock:
            if self._fetch_thread is not None or self._closed:
                return
            thread = threading.Thread(target=self._ask, args=(self._stop,), name="perfopt-snapshot-http", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self.faults["thread"] += 1
                return
            self._fetch_thread = thread

    def _ask(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self.fetch()
            except Exception:
                self.faults["watch"] += 1
            stop.wait(self.delay_s())

    def delay_s(self) -> float:
        """Return how long to wait before asking again: jittered, longer after each failure in a row."""
        backoff = min(MOST_BACKOFF_S, self._fetch_s * 2.0 ** min(self._failures, 10))
        return max(self._fetch_s, backoff) * self._jitter(*_JITTER)
