"""Calls spread over endpoints of one API: a call of a model in, the same call to the endpoint that does best out."""

from __future__ import annotations

import random
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from otel_perfopt import conventions
from otel_perfopt.act.clock import SYSTEM_CLOCK, Clock
from otel_perfopt.act.endpoint_choice import EndpointChoice
from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.middleware import Proceed, ProceedAsync
from otel_perfopt.act.overload import is_transient
from otel_perfopt.act.parameters.endpoint_balancing import EndpointBalancingParameters
from otel_perfopt.act.run_tally import count
from otel_perfopt.signal.calls import InferenceCall

NAME: Final = "endpoint_balancing"
MAX_CONVERSATIONS = 10_000
_OWN = 0  # the agent's own endpoint comes first, and is always one of the choices


class EndpointBalancing:
    """Sends each conversation to the endpoint that is fastest for its load, and away from failing ones.

    A call that an endpoint fails in passing goes to the agent's own endpoint at once; a failure there is
    the agent's. The client's copies share its connections' settings, headers and credentials.
    """

    name = NAME

    def __init__(self, clock: Clock = SYSTEM_CLOCK, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._choices: dict[Hashable, EndpointChoice] = {}
        self._homes: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._copies: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def around(self, use: Use, call: InferenceCall, proceed: Proceed) -> Any:
        """Make the call where it is best made."""
        choice, index, sent = self._sent_to(use, call)
        if choice is None:
            return proceed(call)
        began_ns = self._clock.monotonic_ns()
        try:
            result = proceed(sent)
        except BaseException as error:
            self._over(choice, index, began_ns, error)
            if index == _OWN or not isinstance(error, Exception) or not is_transient(error):
                raise
        else:
            self._over(choice, index, began_ns)
            return result
        return proceed(call)

    async def around_async(self, use: Use, call: InferenceCall, proceed: ProceedAsync) -> Any:
        """Do the same for an asynchronous call."""
        choice, index, sent = self._sent_to(use, call)
        if choice is None:
            return await proceed(call)
        began_ns = self._clock.monotonic_ns()
        try:
            result = await proceed(sent)
        except BaseException as error:
            self._over(choice, index, began_ns, error)
            if index == _OWN or not isinstance(error, Exception) or not is_transient(error):
                raise
        else:
            self._over(choice, index, began_ns)
            return result
        return await proceed(call)

    def after_fork(self) -> None:
        """Learn anew in the child."""
        self._lock = threading.Lock()
        self._choices = {}
        self._homes = OrderedDict()
        self._copies = weakref.WeakKeyDictionary()

    def _sent_to(self, use: Use, call: InferenceCall) -> tuple[EndpointChoice | None, int, InferenceCall]:
        """Choose an endpoint and return the call as it is made there.

        In shadow, or where the client cannot be copied, there is no choice. The call itself stays as it is:
        a twin of it may be under way elsewhere.
        """
        parameters = _parameters(use)
        if use.shadow or getattr(call.own_target, "_client", None) is None:
            return None, _OWN, call
        choice, home = self._choice(use), (use.policy, call.run.conversation_id)
        sticky = parameters.sticky and bool(call.run.conversation_id)
        index = choice.choose(self._homes.get(home) if sticky else None)
        if sticky:
            self._settle(home, index)
        if index == _OWN:
            return choice, index, call
        url = parameters.endpoints[index - 1]
        call.span_attributes[conventions.SERVER_ADDRESS] = urlsplit(url).hostname or ""
        count(call.run, use.policy, conventions.POLICY_APPLIED)
        return choice, index, replace(call, target=self._elsewhere(call.own_target, url))

    def _settle(self, home: tuple[str, str], index: int) -> None:
        with self._lock:
            self._homes[home] = index
            self._homes.move_to_end(home)
            while len(self._homes) > MAX_CONVERSATIONS:
                self._homes.popitem(last=False)

    def _over(self, choice: EndpointChoice, index: int, began_ns: int, error: BaseException | None = None) -> None:
        duration_s = (self._clock.monotonic_ns() - began_ns) / 1e9
        choice.ended(index, duration_s, failed=is_transient(error))

    def _choice(self, use: Use) -> EndpointChoice:
        key = use.policy, use.rule.decision.digest
        choice = self._choices.get(key)
        if choice is None:
            parameters = _parameters(use)
            number = len(parameters.endpoints) + 1
            made = EndpointChoice(number, parameters.eject_after, parameters.eject_for_s, self._clock, self._chance)
            with self._lock:
                choice = self._choices.setdefault(key, made)
        return choice

    def _elsewhere(self, target: Any, url: str) -> Any:
        """Return the client's object of the same kind at another address; one copy a client and address."""
        client = target._client  # noqa: SLF001 - both clients keep it there, and nowhere else
        with self._lock:
            copies = self._copies.setdefault(client, {})
            copy = copies.get(url)
            if copy is None:
                copy = copies[url] = client.with_options(base_url=url)
        return type(target)(copy)


def _parameters(use: Use) -> EndpointBalancingParameters:
    parameters = use.rule.parameters
    assert isinstance(parameters, EndpointBalancingParameters)
    return parameters
