"""Which of several endpoints is best now: what became of calls in, the number of the endpoint to ask next out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from otel_perfopt.act.clock import Clock

_WEIGHT = 0.2  # of the newest duration in the moving mean
_UNKNOWN_S = 0.0  # an endpoint nobody has tried is tried


@dataclass(slots=True)
class Endpoint:
    """How one endpoint does: a moving mean of its durations, calls under way, failures in a row."""

    mean_s: float | None = None
    in_flight: int = 0
    failures: int = 0
    rests_until_ns: int = 0

    def load(self) -> float:
        """How long a call more would probably take: the mean, times those that share it."""
        return (_UNKNOWN_S if self.mean_s is None else self.mean_s) * (self.in_flight + 1)


class EndpointChoice:
    """The power of two choices (Mitzenmacher 2001): of two healthy endpoints drawn at random, the less loaded."""

    def __init__(
        self, number: int, eject_after: int, eject_for_s: float, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self.endpoints = [Endpoint() for _ in range(number)]
        self._eject_after = eject_after
        self._eject_for_ns = int(eject_for_s * 1e9)
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()

    def choose(self, preferred: int | None = None) -> int:
        """Return the endpoint to ask, and count the call as under way; a healthy `preferred` one is kept."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            healthy = [index for index, item in enumerate(self.endpoints) if now_ns >= item.rests_until_ns]
            if preferred is not None and preferred in healthy:
                chosen = preferred
            else:
                # Where all rest, all are as good: refusing to call would be worse than calling.
                chosen = self._less_loaded(healthy or list(range(len(self.endpoints))))
            self.endpoints[chosen].in_flight += 1
            return chosen

    def ended(self, index: int, duration_s: float, *, failed: bool) -> None:
        """A call is over; one that failed says nothing about durations."""
        with self._lock:
            endpoint = self.endpoints[index]
            endpoint.in_flight = max(0, endpoint.in_flight - 1)
            if not failed:
                endpoint.failures = 0
                mean_s = duration_s if endpoint.mean_s is None else endpoint.mean_s
                endpoint.mean_s = mean_s + _WEIGHT * (duration_s - mean_s)
                return
            endpoint.failures += 1
            if endpoint.failures >= self._eject_after:
                endpoint.rests_until_ns = self._clock.monotonic_ns() + self._eject_for_ns
                # One failure more ends the trial after the rest.
                endpoint.failures = self._eject_after - 1

    def _less_loaded(self, candidates: list[int]) -> int:
        one = candidates[int(self._chance() * len(candidates))]
        others = [index for index in candidates if index != one]
        if not others:
            return one
        two = others[int(self._chance() * len(others))]
        return min((one, two), key=lambda index: self.endpoints[index].load())
