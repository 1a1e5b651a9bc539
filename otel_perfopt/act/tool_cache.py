"""The optimization `tool_cache`: a call of a read-only tool in, its result from an equal earlier call out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.call_key import call_key
from otel_perfopt.act.call_scope import scope_of
from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.parameters.tool_cache import ToolCacheParameters
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.private_copy import keep
from otel_perfopt.act.result_store import Entry, ResultStore
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Plan, Rule
from otel_perfopt.act.shared_cache import SharedCache
from otel_perfopt.act.shared_results import Look
from otel_perfopt.act.single_flight import FlightBoard
from otel_perfopt.act.tenancy import tenant_of
from otel_perfopt.act.write_journal import WriteJournal
from otel_perfopt.signal.calls import ToolCall

NAME: Final = "tool_cache"

_StoreKey = tuple[str, str]


class ToolCache:
    """Results by tenant, tool, version and arguments; never one that a write may have made untrue.

    A hit must have been read after the last write that may touch it, within its time to live, and
    by the same function for the same tenant. Errors are not kept. Equal calls at the same time are
    made once; when that one fails or takes unusually long, the waiters call for themselves. What is
    given out is a private copy. In shadow the call is always made and compared with what the cache
    would have said.

    Two things it cannot see: writes that go around the agent's tools, and writes of other processes
    that do not share its store. For those the time to live is the bound, and shadow's count of false
    hits is the measure.
    """

    name = NAME

    def __init__(self, journal: WriteJournal, patience: Patience, clock: Clock, spans: CallSpans) -> None:
        self._journal = journal
        self._patience = patience
        self._clock = clock
        self._spans = spans
        self._stores: dict[_StoreKey, ResultStore] = {}
        self._flights = FlightBoard()
        self.shared = SharedCache(clock)
        self._lock = threading.Lock()

    def around(self, use: Use, call: ToolCall, proceed: Proceed) -> Any:
        """Give the call's result, from the cache where that is sure to be the same."""
        key = self.key(use, call)
        if key is None or call.run is None:
            return proceed(call)
        if use.shadow:
            return self._shadow(use, call, key, proceed)
        moment, looked = self._journal.now(), self.shared.look(use, call, self._limit_s(use, call))
        entry = self._known(use, key, call, looked, moment)
        if entry is None:
            flight = self._flights.join(key)
            if flight is None:
                return self._lead(use, call, key, proceed, looked)
            self.shared.keep(use, looked, None)
            entry = self._usable(use, call, flight.wait(self._limit_s(use, call)))
        return proceed(call) if entry is None else self._hit(use, call, entry)

    async def around_async(self, use: Use, call: ToolCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        key = self.key(use, call)
        if key is None or call.run is None:
            return await proceed(call)
        if use.shadow:
            return await self._shadow_async(use, call, key, proceed)
        moment, looked = self._journal.now(), await self.shared.look_async(use, call, self._limit_s(use, call))
        entry = self._known(use, key, call, looked, moment)
        if entry is None:
            flight = self._flights.join_async(key)
            if flight is None:
                return await self._lead_async(use, call, key, proceed, looked)
            self.shared.keep(use, looked, None)
            entry = self._usable(use, call, await flight.wait(self._limit_s(use, call)))
        return await proceed(call) if entry is None else self._hit(use, call, entry)

    def holds(self, use: Use, call: ToolCall) -> bool:
        """Tell whether the call would be answered from the cache now."""
        key = self.key(use, call)
        return key is not None and not use.shadow and self._fresh(use, key, call) is not None

    def key(self, use: Use, call: ToolCall) -> Hashable | None:
        """Return the cache key of a call, or None for one that cannot be shared with anybody."""
        parameters = _parameters(use.rule)
        tenant = tenant_of(parameters.scope, call.run)
        if tenant is None:
            return None
        arguments = call_key(call.function, call.args, call.kwargs)
        if arguments is None:
            return None
        return use.policy, use.rule.decision.digest, tenant, call.tool, parameters.version, arguments

    def entry(self, use: Use, call: ToolCall) -> Entry | None:
        """Return what is kept for the call now."""
        key = self.key(use, call)
        return None if key is None else self._fresh(use, key, call)

    def exchange(self, use: Use, call: ToolCall, entry: Entry) -> bool:
        """Keep `entry` for the call instead of what is kept for it; False where nothing is any more."""
        key = self.key(use, call)
        if key is None or self._fresh(use, key, call) is None:
            return False
        self._store(use.rule).put(key, entry)
        return True

    def adopt(self, plan: Plan) -> None:
        """Forget the results of decisions that are no longer in force."""
        self.shared.adopt(plan)
        alive = {_store_key(rule) for rule in plan.rules}
        with self._lock:
            for key in [key for key in self._stores if key not in alive]:
                del self._stores[key]

    def after_fork(self) -> None:
        """Start empty in the child."""
        self._lock = threading.Lock()
        self._stores = {}
        self._flights.after_fork()
        self.shared.after_fork()

    def _fresh(self, use: Use, key: Hashable, call: ToolCall) -> Entry | None:
        store = self._store(use.rule)
        entry = store.get(key, self._clock.monotonic_ns())
        if entry is not None and not self._quiet(use, call, entry.moment):
            store.discard(key, entry)
            return None
        return entry

    def _usable(self, use: Use, call: ToolCall, entry: Entry | None) -> Entry | None:
        return entry if entry is not None and self._quiet(use, call, entry.moment) else None

    def _quiet(self, use: Use, call: ToolCall, moment: int) -> bool:
        rule, read = use.rule, scope_of(call)
        return self._journal.quiet_since(moment, lambda write: rule.touches(write.key, write.scope, call.tool, read))

    def _hit(self, use: Use, call: ToolCall, entry: Entry, *, shared: bool = False) -> Any:
        result = entry.kept.give()
        if shared and call.run is not None:
            count(call.run, use.policy, conventions.POLICY_STORE_HITS)
        call.span_attributes[conventions.CACHE_HIT] = True
        self._spans.record_hit(call, result)
        assert call.run is not None
        count(call.run, use.policy, conventions.POLICY_HITS)
        count(call.run, use.policy, conventions.POLICY_SAVED_NS, entry.duration_ns)
        return result

    def _lead(self, use: Use, call: ToolCall, key: Hashable, proceed: Proceed, looked: Look | None) -> Any:
        entry = None
        try:
            noted, moment = self._note(use, call), self._journal.now()
            if looked is not None and not looked.leads:
                # Another process is at it.
                looked = self.shared.wait(use, call, self._limit_s(use, call))
                entry = self._usable(use, call, self.shared.entry(looked, moment))
                if entry is not None:
                    return self._hit(use, call, entry, shared=True)
                noted = self._note(use, call)
            result = proceed(call)
            self._missed(use, call)
            entry = noted(result, key)
        finally:
            self._flights.land(key, entry)
            self.shared.keep(use, looked, entry)
        return result

    async def _lead_async(
        self, use: Use, call: ToolCall, key: Hashable, proceed: ProceedAsync, looked: Look | None
    ) -> Any:
        entry = None
        try:
            noted, moment = self._note(use, call), self._journal.now()
            if looked is not None and not looked.leads:
                looked = await self.shared.wait_async(use, call, self._limit_s(use, call))
                entry = self._usable(use, call, self.shared.entry(looked, moment))
                if entry is not None:
                    return self._hit(use, call, entry, shared=True)
                noted = self._note(use, call)
            result = await proceed(call)
            self._missed(use, call)
            entry = noted(result, key)
        finally:
            self._flights.land(key, entry)
            self.shared.keep(use, looked, entry)
        return result

    def _known(self, use: Use, key: Hashable, call: ToolCall, looked: Look | None, moment: int) -> Entry | None:
        """Return a result that may be given out; where processes share results, theirs counts and not this one's."""
        if looked is None:
            return self._fresh(use, key, call)
        entry = self._usable(use, call, self.shared.entry(looked, moment))
        if entry is not None and call.run is not None:
            count(call.run, use.policy, conventions.POLICY_STORE_HITS)
        return entry

    def _note(self, use: Use, call: ToolCall) -> Callable[[Any, Hashable], Entry | None]:
        """Note when the call begins; what is returned keeps its result."""
        moment, began_ns = self._journal.now(), self._clock.monotonic_ns()

        def noted(result: Any, key: Hashable) -> Entry | None:
            ended_ns = self._clock.monotonic_ns()
            self._patience.observe(call.tool, ended_ns - began_ns)
            store = self._store(use.rule)
            kept = keep(result, store.max_bytes) if self._quiet(use, call, moment) else None
            if kept is None:
                return None
            # Its age counts from when it may have been read, not from when it arrived.
            expires_ns = began_ns + int(_parameters(use.rule).ttl_s * 1e9)
            entry = Entry(kept, moment, expires_ns, ended_ns - began_ns)
            store.put(key, entry)
            return entry

        return noted

    def _shadow(self, use: Use, call: ToolCall, key: Hashable, proceed: Proceed) -> Any:
        entry, noted = self._fresh(use, key, call), self._note(use, call)
        result = proceed(call)
        self._compare(use, call, entry, result)
        noted(result, key)
        return result

    async def _shadow_async(self, use: Use, call: ToolCall, key: Hashable, proceed: ProceedAsync) -> Any:
        entry, noted = self._fresh(use, key, call), self._note(use, call)
        result = await proceed(call)
        self._compare(use, call, entry, result)
        noted(result, key)
        return result

    def _compare(self, use: Use, call: ToolCall, entry: Entry | None, result: Any) -> None:
        if entry is None:
            self._missed(use, call)
            return
        if not self._quiet(use, call, entry.moment):
            # A write since the entry was looked up makes the two incomparable.
            return
        assert call.run is not None
        same = _same(entry.kept.value, result)
        field = conventions.POLICY_TRUE_HITS if same else conventions.POLICY_FALSE_HITS
        count(call.run, use.policy, field)

    def _missed(self, use: Use, call: ToolCall) -> None:
        assert call.run is not None
        count(call.run, use.policy, conventions.POLICY_MISSES)

    def _limit_s(self, use: Use, call: ToolCall) -> float:
        return self._patience.limit_s(call.tool, _parameters(use.rule).max_wait_s)

    def _store(self, rule: Rule) -> ResultStore:
        key = _store_key(rule)
        store = self._stores.get(key)
        if store is None:
            parameters = _parameters(rule)
            with self._lock:
                store = self._stores.setdefault(key, ResultStore(parameters.max_entries, parameters.max_bytes))
        return store


def _store_key(rule: Rule) -> _StoreKey:
    return rule.decision.policy, rule.decision.digest


def _parameters(rule: Rule) -> ToolCacheParameters:
    parameters = rule.parameters
    assert isinstance(parameters, ToolCacheParameters)
    return parameters


def _same(kept: object, result: object) -> bool:
    try:
        return type(kept) is type(result) and bool(kept == result)
    except Exception:
        # What cannot be compared cannot be claimed to be equal.
        return False
