"""A home folder as it stands at one moment: the folder in, its policies, verdicts, queue, lessons and ledger out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from otel_perfopt.decide.learned_file import LearnedFile
from otel_perfopt.decide.learning import Learned
from otel_perfopt.decide.ledger_entry import LedgerEntry
from otel_perfopt.decide.policy_set import PolicySet
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.errors import InvalidFileError, LedgerError
from otel_perfopt.loop.observatory import Observatory, Standing
from otel_perfopt.loop.queue import QueueItem, optimization_queue
from otel_perfopt.measure.home_prices import prices_of
from otel_perfopt.report.clock_ahead import clocks_ahead


@dataclass(frozen=True, slots=True)
class HomeView:
    """What a home folder says at `now_ns` (Unix ns): each policy's status and standing, and what is next.

    `problems` are sentences on files and a ledger that cannot be read as they are, and on clocks that are ahead.
    """

    home: Path
    now_ns: int
    statuses: tuple[PolicyStatus, ...]
    standings: Mapping[str, Standing]
    queue: tuple[QueueItem, ...]
    learned: Learned
    entries: tuple[LedgerEntry, ...]
    killed: bool
    problems: tuple[str, ...]


class HomeWatch:
    """Looks at a home folder again and again; telemetry is read once.

    With `writes` what is new in the folder goes on the ledger, as every command does that may change
    something; without, or where the ledger cannot be written, nothing is.
    """

    def __init__(self, home: Path, *, writes: bool = False) -> None:
        self._home = home
        self._writes = writes
        self._observatory = Observatory(home, resume=True)
        self._learned = LearnedFile(home)

    def look(self, now_ns: int) -> HomeView:
        """Return how the folder stands at `now_ns`."""
        policies, problems = self._policies(now_ns)
        self._observatory.look(now_ns)
        statuses = policies.statuses(now_ns)
        learned = self._learned.learned(policies.ledger.entries, write=False)
        return HomeView(
            home=self._home,
            now_ns=now_ns,
            statuses=tuple(statuses),
            standings={one.name: self._observatory.standing(one, policies, now_ns) for one in statuses},
            queue=optimization_queue(policies, learned, now_ns) if statuses else (),
            learned=learned,
            entries=policies.ledger.entries,
            killed=policies.killed,
            problems=(
                *problems,
                *(str(problem) for problem in policies.problems),
                *_prices_problem(self._home),
                *clocks_ahead(self._home, now_ns),
            ),
        )

    def _policies(self, now_ns: int) -> tuple[PolicySet, tuple[str, ...]]:
        failed: LedgerError | None = None
        if self._writes:
            try:
                return PolicySet.open(self._home, now_ns), ()
            except LedgerError as error:
                failed = error
        policies, unreadable = PolicySet.look(self._home)
        told = unreadable or failed
        return policies, (f"{told}; shown as far as it can be read",) if told else ()


def _prices_problem(home: Path) -> tuple[str, ...]:
    try:
        prices_of(home)
    except InvalidFileError as error:
        return (f"{error}; until then nothing has a cost",)
    return ()
