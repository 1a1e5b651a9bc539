"""The optimization `response_cache`: a request to a model in, the reply to an equal earlier one out."""

from __future__ import annotations

import json
import threading
from collections.abc import Hashable, Mapping
from hashlib import blake2b
from typing import Any, Final

from otel_perfopt import conventions
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.parameters.response_cache import ResponseCacheParameters
from otel_perfopt.act.patience import Patience
from otel_perfopt.act.private_copy import keep
from otel_perfopt.act.result_store import Entry, ResultStore
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.single_flight import FlightBoard
from otel_perfopt.act.tenancy import tenant_of
from otel_perfopt.signal.calls import InferenceCall

NAME: Final = "response_cache"
MAX_STORES = 64
# What says how a request travels, not what it asks.
_NOT_ASKED = frozenset({"extra_headers", "timeout", "metadata", "user", "safety_identifier", "prompt_cache_key"})


class ResponseCache:
    """Replies by tenant and by everything that is asked: model, messages, tools, temperature, format.

    What tools have said is part of the messages, so a world that has changed asks another question.
    Streams and raw responses pass; errors are not kept; equal requests at the same time are asked
    once. What is given out is a private copy. In shadow the model is always asked and the texts are compared.
    """

    name = NAME

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._patience = Patience()
        self._stores: dict[tuple[str, str], ResultStore] = {}
        self._flights = FlightBoard()
        self._lock = threading.Lock()

    def around(self, use: Use, call: InferenceCall, proceed: Proceed) -> Any:
        """Give the reply, from the cache where an equal request was answered before."""
        key = request_key(use, call)
        if key is None:
            return proceed(call)
        entry = self._fresh(use, key)
        if use.shadow:
            began_ns = self._clock.monotonic_ns()
            result = proceed(call)
            self._compared(use, call, entry, result)
            self._keep(use, call, key, result, began_ns)
            return result
        if entry is None:
            flight = self._flights.join(key)
            if flight is None:
                return self._lead(use, call, key, proceed)
            entry = flight.wait(self._limit_s(use, call))
        return proceed(call) if entry is None else self._hit(use, call, entry)

    async def around_async(self, use: Use, call: InferenceCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        key = request_key(use, call)
        if key is None:
            return await proceed(call)
        entry = self._fresh(use, key)
        if use.shadow:
            began_ns = self._clock.monotonic_ns()
            result = await proceed(call)
            self._compared(use, call, entry, result)
            self._keep(use, call, key, result, began_ns)
            return result
        if entry is None:
            flight = self._flights.join_async(key)
            if flight is None:
                return await self._lead_async(use, call, key, proceed)
            entry = await flight.wait(self._limit_s(use, call))
        return await proceed(call) if entry is None else self._hit(use, call, entry)

    def after_fork(self) -> None:
        """Start empty in the child."""
        self._lock = threading.Lock()
        self._stores = {}
        self._flights.after_fork()

    def _lead(self, use: Use, call: InferenceCall, key: Hashable, proceed: Proceed) -> Any:
        began_ns = self._clock.monotonic_ns()
        entry = None
        try:
            result = proceed(call)
            count(call.run, use.policy, conventions.POLICY_MISSES)
            self._keep(use, call, key, result, began_ns)
            entry = self._fresh(use, key)
        finally:
            self._flights.land(key, entry)
        return result

    async def _lead_async(self, use: Use, call: InferenceCall, key: Hashable, proceed: ProceedAsync) -> Any:
        began_ns = self._clock.monotonic_ns()
        entry = None
        try:
            result = await proceed(call)
            count(call.run, use.policy, conventions.POLICY_MISSES)
            self._keep(use, call, key, result, began_ns)
            entry = self._fresh(use, key)
        finally:
            self._flights.land(key, entry)
        return result

    def _keep(self, use: Use, call: InferenceCall, key: Hashable, result: Any, began_ns: int) -> None:
        """Put the reply by, if it is one that may be given again."""
        parameters = _parameters(use)
        if not call.is_reply(result) or (_asks_for_tools(result) and not parameters.tool_calls):
            return
        took_ns = self._clock.monotonic_ns() - began_ns
        self._patience.observe(call.model, took_ns)
        kept = keep(result, parameters.max_bytes)
        if kept is not None:
            expires_ns = began_ns + int(parameters.ttl_s * 1e9)
            self._store(use).put(key, Entry(kept, 0, expires_ns, took_ns))

    def _compared(self, use: Use, call: InferenceCall, entry: Entry | None, result: Any) -> None:
        """In shadow: count whether the reply kept before says the same as the one that came now."""
        field = conventions.POLICY_MISSES
        if entry is not None:
            same = _said(entry.kept.value) == _said(result)
            field = conventions.POLICY_TRUE_HITS if same else conventions.POLICY_FALSE_HITS
        count(call.run, use.policy, field)

    def _hit(self, use: Use, call: InferenceCall, entry: Entry) -> Any:
        result = entry.kept.give()
        call.served_by = NAME
        count(call.run, use.policy, conventions.POLICY_HITS)
        count(call.run, use.policy, conventions.POLICY_SAVED_NS, entry.duration_ns)
        return result

    def _fresh(self, use: Use, key: Hashable) -> Entry | None:
        return self._store(use).get(key, self._clock.monotonic_ns())

    def _limit_s(self, use: Use, call: InferenceCall) -> float:
        return self._patience.limit_s(call.model, _parameters(use).max_wait_s)

    def _store(self, use: Use) -> ResultStore:
        name = use.policy, use.rule.decision.digest
        store = self._stores.get(name)
        if store is None:
            parameters = _parameters(use)
            with self._lock:
                # Those of policies long gone: a new digest each day must not fill memory.
                while len(self._stores) >= MAX_STORES:
                    self._stores.pop(next(iter(self._stores)))
                store = self._stores.setdefault(name, ResultStore(parameters.max_entries, parameters.max_bytes))
        return store


def request_key(use: Use, call: InferenceCall) -> Hashable | None:
    """Return a key equal for equal requests of who may share their reply, or None for one that is not cached."""
    parameters = _parameters(use)
    if call.stream or "extra_body" in call.kwargs or call.kwargs.get("store") is True:
        return None
    if not parameters.any_temperature and call.kwargs.get("temperature") != 0:
        return None
    tenant = tenant_of(parameters.scope, call.run)
    if tenant is None:
        return None
    asked = {name: value for name, value in call.kwargs.items() if name not in _NOT_ASKED}
    try:
        text = json.dumps(asked, sort_keys=True, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, RecursionError):
        return None
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    return use.policy, use.rule.decision.digest, parameters.version, tenant, call.api, digest


def _plain(value: object) -> object:
    """Return a client's own object as data.

    Raises:
        TypeError: it is none, so that the request is not cached.
    """
    dump = getattr(value, "model_dump", None)
    if dump is None or isinstance(value, type):
        raise TypeError(type(value).__name__)
    return dump(mode="json", exclude_none=True)


def _said(result: object) -> object:
    """Return what a reply says, without ids, times and counts."""
    dump = getattr(result, "model_dump", None)
    whole: Mapping[str, Any] = dump(mode="json") if dump is not None else {}
    return [whole.get(name) for name in ("choices", "output_text", "content")]


def _asks_for_tools(result: object) -> bool:
    dump = getattr(result, "model_dump_json", None)
    text = dump(exclude_none=True) if dump is not None else ""
    return any(mark in text for mark in ('"tool_calls":', '"tool_use"', '"function_call"'))


def _parameters(use: Use) -> ResponseCacheParameters:
    parameters = use.rule.parameters
    assert isinstance(parameters, ResponseCacheParameters)
    return parameters
