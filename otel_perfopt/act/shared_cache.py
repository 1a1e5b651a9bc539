"""The part of `tool_cache` that several processes share: a call in, what another process read for it out."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.clock import Clock
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.parameters.tool_cache import ToolCacheParameters
from otel_perfopt.act.private_copy import Kept
from otel_perfopt.act.redis_workers import RedisWorkers, UnavailableError
from otel_perfopt.act.result_store import Entry
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Plan, Rule, ToolKey
from otel_perfopt.act.shared_key import shared_key, to_text
from otel_perfopt.act.shared_results import Look, SharedResults, value_of
from otel_perfopt.act.tenancy import tenant_of
from otel_perfopt.act.write_journal import ANY_WRITE
from otel_perfopt.execution.model import ToolEffects
from otel_perfopt.signal.calls import ToolCall

POLL_S: Final = 0.01
MAX_TEXT: Final = 1 << 20
MAX_STORES: Final = 16
_EVERYTHING: Final = "*"


class SharedCache:
    """Asks the stores that policies name; no answer in time means that the process's own results are used.

    Only results that are plain JSON data are shared, and only of functions that are the same in every
    process. None of the methods raises; faults are counted in the run.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stores: dict[str, SharedResults] = {}
        self._workers: list[RedisWorkers] = []
        self._lock = threading.Lock()

    def look(self, use: Use, call: ToolCall, lock_s: float) -> Look | None:
        """Return what is known of the call; None where it is not shared, or nobody answers."""
        asked = self._asked(use, call)
        if asked is None:
            return None
        store, key, versions = asked
        try:
            return store.look(key, versions, lock_s)
        except UnavailableError:
            self._failed(use, call)
            return None

    async def look_async(self, use: Use, call: ToolCall, lock_s: float) -> Look | None:
        """Do the same in a coroutine."""
        asked = self._asked(use, call)
        if asked is None:
            return None
        store, key, versions = asked
        try:
            return await store.look_async(key, versions, lock_s)
        except UnavailableError:
            self._failed(use, call)
            return None

    def wait(self, use: Use, call: ToolCall, limit_s: float) -> Look | None:
        """Wait while another process makes the call; what is returned has a result, or leads, or is None."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            time.sleep(POLL_S)
            looked = self.look(use, call, limit_s)
            if looked is None or looked.text is not None or looked.leads:
                return looked
        return None

    async def wait_async(self, use: Use, call: ToolCall, limit_s: float) -> Look | None:
        """Do the same in a coroutine."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            await asyncio.sleep(POLL_S)
            looked = await self.look_async(use, call, limit_s)
            if looked is None or looked.text is not None or looked.leads:
                return looked
        return None

    def keep(self, use: Use, looked: Look | None, entry: Entry | None) -> None:
        """Share a result with other processes, or tell them that there is none."""
        if looked is None or not looked.leads:
            return
        store = self._store(use.rule)
        text, left_s = None, 0.0
        if entry is not None:
            text = to_text(entry.kept.value, MAX_TEXT)
            left_s = (entry.expires_ns - self._clock.monotonic_ns()) / 1e9
        try:
            if store is not None:
                store.keep(looked, text, left_s, entry.duration_ns if entry is not None else 0)
        except UnavailableError:
            return

    def entry(self, looked: Look | None, moment: int) -> Entry | None:
        """Return what was found, as this process keeps results."""
        if looked is None or looked.text is None:
            return None
        kept = Kept(value_of(looked), len(looked.text), immutable=False)
        return Entry(kept, moment, self._clock.monotonic_ns(), looked.duration_ns)

    def shares(self, plan: Plan) -> bool:
        """Tell whether some policy of the plan shares results."""
        return any(True for _ in self._rules(plan))

    def wrote(self, plan: Plan, write: ToolKey) -> None:
        """Tell other processes that a call which may write begins, or has ended."""
        for store, versions in self._written(plan, write):
            store.change_versions(versions)

    async def wrote_async(self, plan: Plan, write: ToolKey) -> None:
        """Do the same in a coroutine."""
        for store, versions in self._written(plan, write):
            await store.change_versions_async(versions)

    def adopt(self, plan: Plan) -> None:
        """Begin to connect to the stores that policies name."""
        for rule in self._rules(plan):
            self._store(rule)

    def close(self) -> None:
        """Let go of all connections."""
        for workers in self._workers:
            workers.close()

    def after_fork(self) -> None:
        """Connections are the parent's."""
        self._lock = threading.Lock()
        for workers in self._workers:
            workers.after_fork()
        for store in self._stores.values():
            store.after_fork()

    def _asked(self, use: Use, call: ToolCall) -> tuple[SharedResults, str, list[str]] | None:
        rule, parameters = use.rule, _parameters(use.rule)
        if not parameters.store:
            return None
        tenant = tenant_of(parameters.scope, call.run)
        key = shared_key(call, use.policy, rule.decision.digest, tenant, call.tool, parameters.version)
        store = self._store(rule)
        return None if key is None or store is None else (store, key, list(_read_versions(rule, call.tool)))

    def _store(self, rule: Rule) -> SharedResults | None:
        url = _parameters(rule).store
        store = self._stores.get(url)
        if store is None:
            with self._lock:
                store = self._stores.get(url)
                if store is None and len(self._stores) < MAX_STORES:
                    workers = RedisWorkers(url, self._clock)
                    self._workers.append(workers)
                    store = self._stores[url] = SharedResults(workers)
                    workers.connect()
        return store

    def _rules(self, plan: Plan) -> Iterator[Rule]:
        for rule in plan.tool_rules:
            if isinstance(rule.parameters, ToolCacheParameters) and rule.parameters.store:
                yield rule

    def _written(self, plan: Plan, write: ToolKey) -> Iterator[tuple[SharedResults, list[str]]]:
        for rule in self._rules(plan):
            store = self._store(rule)
            if store is not None:
                yield store, list(_written_versions(rule, write))

    def _failed(self, use: Use, call: ToolCall) -> None:
        if call.run is not None:
            count(call.run, use.policy, conventions.POLICY_STORE_FAULTS)


def _read_versions(rule: Rule, tool: str) -> Iterator[str]:
    """Yield the versions that a read of `tool` depends on."""
    yield _version(rule, _EVERYTHING)
    for write, reads in _parameters(rule).invalidates:
        if any(fnmatchcase(tool, glob) for glob in reads):
            yield _version(rule, write)


def _written_versions(rule: Rule, write: ToolKey) -> Iterator[str]:
    """Yield the versions that a call of `write` changes."""
    parameters = _parameters(rule)
    if write is ANY_WRITE:
        yield _version(rule, _EVERYTHING)
    elif rule.effects(write) is not ToolEffects.READ:
        named = [glob for glob, _ in parameters.invalidates if fnmatchcase(write.tool, glob)]
        if named or not parameters.complete:
            yield from (_version(rule, glob) for glob in named or (_EVERYTHING,))


def _version(rule: Rule, glob: str) -> str:
    return f"{rule.decision.policy}:{rule.decision.digest}:{glob}"


def _parameters(rule: Rule) -> Any:
    assert isinstance(rule.parameters, ToolCacheParameters)
    return rule.parameters
