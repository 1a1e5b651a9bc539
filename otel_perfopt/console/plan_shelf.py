"""What policies would mean: policies that wait in, their plans out, worked out beside everything else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from otel_perfopt.decide.boundary import SafetyBoundary
from otel_perfopt.decide.policy_status import PolicyStatus
from otel_perfopt.execution.source import ExecutionSource
from otel_perfopt.loop.policy_plan import PolicyPlan, policy_plans
from otel_perfopt.measure.price import PriceTable, priced

_LOG = logging.getLogger(__name__)
_MOST_KEPT = 500


class PlanShelf:
    """Reads the telemetry once for all policies it has no plan of; a page that comes too early asks again."""

    def __init__(self, source: Callable[[], ExecutionSource], prices: Callable[[], PriceTable]) -> None:
        self._source = source
        self._prices = prices
        self._plans: dict[str, PolicyPlan] = {}
        self._failed: dict[str, str] = {}
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="perfopt-plans")

    def plan(
        self, status: PolicyStatus, others: Sequence[PolicyStatus], boundaries: Sequence[SafetyBoundary]
    ) -> tuple[PolicyPlan | None, str]:
        """Return a policy's plan, or why there is none yet; begins to work it out, together with the others'."""
        with self._lock:
            known = self._plans.get(status.digest)
            if known is not None:
                return known, ""
            if status.digest in self._failed:
                return None, self._failed[status.digest]
            if self._running is None or self._running.done():
                wanted = {one.digest: one for one in (status, *others) if one.digest not in self._plans}
                self._running = self._executor.submit(self._work_out, tuple(wanted.values()), tuple(boundaries))
            return None, "It is being worked out from the telemetry."

    def forget(self) -> None:
        """Let plans be worked out anew, as after an analysis of more telemetry."""
        with self._lock:
            self._plans.clear()
            self._failed.clear()

    def close(self) -> None:
        """Work out nothing more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _work_out(self, wanted: Sequence[PolicyStatus], boundaries: Sequence[SafetyBoundary]) -> None:
        digests = [status.digest for status in wanted]
        try:
            prices = self._prices()
            runs = (priced(run, prices) for run in self._source().executions())
            found = policy_plans([(status.policy, status.digest) for status in wanted], boundaries, runs)
        except Exception as error:
            _LOG.exception("plans could not be worked out")
            with self._lock:
                self._failed.update(dict.fromkeys(digests, f"{type(error).__name__}: {error}"))
            return
        with self._lock:
            if len(self._plans) > _MOST_KEPT:
                self._plans.clear()
            self._plans.update(zip(digests, found, strict=True))
