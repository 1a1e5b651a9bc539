"""What `preload` keeps: conversations' shelves, what runs have said and how good rules are, found by run and rule."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable
from typing import Final

from otel_perfopt.act.call_key import call_key
from otel_perfopt.act.call_scope import scope_of
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.parameters.preload import PreloadParameters
from otel_perfopt.act.preload_record import PreloadRecord
from otel_perfopt.act.preload_shelf import Foreseen, Shelf, Shelves
from otel_perfopt.act.preload_values import RunValues
from otel_perfopt.act.selection import Rule
from otel_perfopt.act.tool_record import ToolRecord
from otel_perfopt.act.write_journal import WriteJournal
from otel_perfopt.signal.calls import RunContext, ToolCall

_SLOT: Final = "perfopt.act.preload"
# A conversation that has said nothing for so long is forgotten, or for its time to live where that is longer.
IDLE_S: Final = 60.0
_PolicyKey = tuple[str, str]


class PreloadDesk:
    """Everything is bounded: 1,024 conversations of 64 foreseen calls, 256 calls and some values of a run."""

    def __init__(self, journal: WriteJournal, clock: Clock) -> None:
        self.journal = journal
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Begin with nothing; what was begun before belongs to nobody."""
        self.generation = object()
        self.tools = ToolRecord()
        self._shelves = Shelves()
        self._records: dict[_PolicyKey, PreloadRecord] = {}
        self._lock = threading.Lock()

    def values(self, run: RunContext) -> RunValues:
        """Return what the run's calls have said."""
        return self._kept(run)[1]

    def shelf(self, run: RunContext, now_ns: int) -> Shelf:
        """Return where the run's calls are foreseen: its conversation's shelf, else one of its own."""
        if not run.conversation_id:
            own = self._kept(run)[2]
            return own if own is not None else Shelf()
        shelf, gone = self._shelves.of(_conversation(run), now_ns)
        for other in (*gone, *self._shelves.unused_since(now_ns - int(IDLE_S * 1e9))):
            self.give_up(other.clear())
        return shelf

    def shelves(self, run: RunContext | None) -> Iterable[Shelf]:
        """Return where a call of the run may have been foreseen."""
        if run is None:
            return ()
        shared = self._shelves.find(_conversation(run)) if run.conversation_id else None
        return [shelf for shelf in (shared, self._kept(run)[2]) if shelf is not None]

    def commands(self, run: RunContext) -> list[str]:
        """Return the commands of the run's conversation that have ended, as far as remembered, oldest first."""
        shelf = self._shelves.find(_conversation(run))
        return list(shelf.commands) if shelf is not None else []

    def settle(self, run: RunContext) -> None:
        """The command has ended: what was foreseen for it alone is over; remember it as one of its conversation."""
        found = run.slots.pop(_SLOT, None)
        if found is not None and found[0] is self.generation and found[2] is not None:
            self.give_up(found[2].clear())
        if run.conversation_id:
            self.shelf(run, self.clock.monotonic_ns()).commands.append(run.command)

    def record(self, rule: Rule) -> PreloadRecord:
        """Return how good the policy's rules are."""
        key, parameters = policy_key(rule), parameters_of(rule)
        record = self._records.get(key)
        if record is None:
            with self._lock:
                fresh = PreloadRecord(parameters.min_precision, parameters.budget)
                record = self._records.setdefault(key, fresh)
        return record

    def quiet(self, rule: Rule, call: ToolCall, moment: int) -> bool:
        """Tell whether no write that may touch what the call reads has been under way since `moment`."""
        read = scope_of(call)
        return self.journal.quiet_since(moment, lambda write: rule.touches(write.key, write.scope, call.tool, read))

    def give_up(self, items: Iterable[Foreseen]) -> None:
        """Nobody came for these in time."""
        for item in items:
            record = self.record(item.use.rule)
            record.judge(item.rule, right=False)
            if item.counted and not item.use.shadow:
                record.settle(item.cost, wasted=item.early is not None)
            if item.early is not None:
                item.early.give_up()

    def keep_only(self, alive: frozenset[_PolicyKey]) -> None:
        """Forget everything when a policy that had something here is gone."""
        with self._lock:
            gone = [key for key in self._records if key not in alive]
            for key in gone:
                del self._records[key]
        if gone:
            self.drop()

    def drop(self) -> None:
        """Let go of everything foreseen for conversations."""
        for shelf in self._shelves.clear():
            for item in shelf.clear():
                if item.early is not None:
                    item.early.give_up()

    def _kept(self, run: RunContext) -> tuple[object, RunValues, Shelf | None]:
        found: tuple[object, RunValues, Shelf | None] | None = run.slots.get(_SLOT)
        if found is None or found[0] is not self.generation:
            fresh = (self.generation, RunValues(), None if run.conversation_id else Shelf())
            if found is not None:
                run.slots[_SLOT] = fresh
            found = run.slots.setdefault(_SLOT, fresh)
        assert found is not None
        return found


def policy_key(rule: Rule) -> _PolicyKey:
    """Return what tells one policy, in one version, from all others."""
    return rule.decision.policy, rule.decision.digest


def foreseen_key(rule: Rule, call: ToolCall) -> Hashable | None:
    """Return what a foreseen call and the agent's own equal one have in common; None where it has no key."""
    key = call_key(call.function, call.args, call.kwargs)
    return None if key is None else (*policy_key(rule), call.tool, key)


def parameters_of(rule: Rule) -> PreloadParameters:
    """Return a rule's parameters."""
    parameters = rule.parameters
    assert isinstance(parameters, PreloadParameters)
    return parameters


def _conversation(run: RunContext) -> Hashable:
    return run.conversation_id, run.user_id
