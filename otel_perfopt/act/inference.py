"""What stands between the agent and its models: calls of a client in, the same replies out, by the ways decisions allow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from otel_perfopt import conventions
from otel_perfopt.act.asker import asker_of
from otel_perfopt.act.enrolment import Use, enrol
from otel_perfopt.act.fault_log import SELECTION, FaultLog
from otel_perfopt.act.inference_table import CONTEXT_REWRITERS, InferenceOptimizations
from otel_perfopt.act.link import Link
from otel_perfopt.act.middleware import Proceed, ProceedAsync, Rewriter, guard, guard_async
from otel_perfopt.act.retention import RetentionWatch
from otel_perfopt.act.run_tally import count
from otel_perfopt.act.selection import Rule
from otel_perfopt.act.snapshot_source import InForce
from otel_perfopt.act.standing import Standing
from otel_perfopt.signal.calls import InferenceCall

# A provider's refusal of a request that is not the request's own fault: who asks, when, or how often.
_NOT_FOR_CONTENT = frozenset({401, 403, 408, 409, 425, 429})


class InferenceRuntime:
    """The `InferenceInterceptor` of the seam: requests are rewritten first, then sent, answered or held back.

    A request that the provider refuses in its rewritten form is sent once more as the agent made it,
    and the refusal counts as a fault of whoever rewrote it.
    """

    def __init__(
        self,
        standing: Standing,
        faults: FaultLog,
        optimizations: InferenceOptimizations,
    ) -> None:
        self._standing = standing
        self._faults = faults
        self._retention = RetentionWatch()
        self._link = Link(faults, repeatable=True)
        self._rewriters = optimizations.rewriters
        self._middlewares = optimizations.middlewares
        self._sent_plain = optimizations.sent_plain
        self._innermost_first = tuple(reversed(optimizations.middlewares))

    def around_inference(self, call: InferenceCall, execute: Callable[[InferenceCall], Any]) -> Any:
        """Make a synchronous call, or give its result some other way."""
        in_force = self._standing.in_force()
        if not in_force.plan.inference_rules:
            self._sent_plain.note(call.run.conversation_id)
            return execute(call)
        around = partial(self._conduct, in_force, call)
        return guard(SELECTION, around, execute, call, self._faults.note, repeatable=True)

    async def around_inference_async(
        self, call: InferenceCall, execute: Callable[[InferenceCall], Awaitable[Any]]
    ) -> Any:
        """Make an asynchronous call, or give its result some other way."""
        in_force = self._standing.in_force()
        if not in_force.plan.inference_rules:
            self._sent_plain.note(call.run.conversation_id)
            return await execute(call)
        around = partial(self._conduct_async, in_force, call)
        return await guard_async(SELECTION, around, execute, call, self._faults.note, repeatable=True)

    def after_fork(self) -> None:
        """Leave the parent's threads, locks and results behind; called in the child."""
        self._retention.after_fork()
        for optimization in (*self._rewriters, *self._middlewares):
            renew = getattr(optimization, "after_fork", None)
            if renew is not None:
                renew()

    def close(self) -> None:
        """End what optimizations hold: threads, connections."""
        for optimization in (*self._rewriters, *self._middlewares):
            close = getattr(optimization, "close", None)
            if close is not None:
                close()

    def _conduct(self, in_force: InForce, call: InferenceCall, execute: Proceed) -> Any:
        uses = self._uses(in_force, call)
        rewritten_by = self._rewrite(uses, call)
        proceed = execute
        for middleware in self._innermost_first:
            if middleware.name in uses:
                proceed = partial(self._link.through, middleware, uses[middleware.name], proceed)
        try:
            return proceed(call)
        except Exception as error:
            if not (call.changed and refused(error)):
                raise
            self._take_back(rewritten_by, call, error)
        return execute(call)

    async def _conduct_async(self, in_force: InForce, call: InferenceCall, execute: ProceedAsync) -> Any:
        uses = self._uses(in_force, call)
        rewritten_by = self._rewrite(uses, call)
        proceed = execute
        for middleware in self._innermost_first:
            if middleware.name in uses:
                proceed = partial(self._link.through_async, middleware, uses[middleware.name], proceed)
        try:
            return await proceed(call)
        except Exception as error:
            if not (call.changed and refused(error)):
                raise
            self._take_back(rewritten_by, call, error)
        return await execute(call)

    def _uses(self, in_force: InForce, call: InferenceCall) -> dict[str, Use]:
        """Choose what applies to the call: by optimization, how it is to be used in this run."""
        if not self._faults.breakers[SELECTION].allow() or not self._standing.followed(in_force):
            return {}
        uses = dict(self._enrolled(in_force, call))
        self._faults.breakers[SELECTION].succeeded()
        return uses

    def _enrolled(self, in_force: InForce, call: InferenceCall) -> Iterator[tuple[str, Use]]:
        for name, rule in self._rules(in_force, call):
            use = self._standing.use(enrol, rule, call.run)
            if use is not None:
                yield name, use

    def _rules(self, in_force: InForce, call: InferenceCall) -> Iterator[tuple[str, Rule]]:
        asker = asker_of(call.run, in_force.plan)
        for name, rule in in_force.plan.select_inference(call.run.command, call.model, asker).items():
            if rule.decision.policy not in in_force.killed_policies:
                yield name, rule

    def _rewrite(self, uses: dict[str, Use], call: InferenceCall) -> list[tuple[str, Use]]:
        """Let every rewriter in use have its say, in the fixed order; return those that changed something."""
        rewritten: list[tuple[str, Use]] = []
        for rewriter in self._rewriters:
            use = uses.get(rewriter.name)
            if use is not None and self._rewritten(rewriter, use, call):
                rewritten.append((rewriter.name, use))
        if not any(name in uses and not uses[name].shadow for name in CONTEXT_REWRITERS):
            self._sent_plain.note(call.run.conversation_id)
        return rewritten

    def _rewritten(self, rewriter: Rewriter, use: Use, call: InferenceCall) -> bool:
        breaker = self._faults.breakers[rewriter.name]
        if not breaker.allow():
            return False
        try:
            changes = rewriter.rewrite(use, call)
            if changes and use.shadow and rewriter.name in CONTEXT_REWRITERS:
                self._retention.watch(use, call, changes)
        except Exception as error:
            self._faults.note(rewriter.name, error, call.run, use.policy)
            return False
        breaker.succeeded()
        if changes:
            count(call.run, use.policy, conventions.POLICY_APPLIED)
        if not changes or use.shadow:
            return False
        call.kwargs.update(changes)
        return True

    def _take_back(self, rewritten_by: list[tuple[str, Use]], call: InferenceCall, error: Exception) -> None:
        for name, use in rewritten_by:
            self._faults.note(name, error, call.run, use.policy)
        self._sent_plain.note(call.run.conversation_id)
        call.restore()


def refused(error: Exception) -> bool:
    """Tell whether a provider, or its client, says that a request as such is wrong."""
    if isinstance(error, (TypeError, ValueError)):
        return True
    status = getattr(error, "status_code", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in _NOT_FOR_CONTENT
