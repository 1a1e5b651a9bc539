"""Ready before the peak: loaders and frequent reads of a policy in, filled pools and caches out, from a thread."""

from __future__ import annotations

import importlib
import inspect
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from otel_perfopt.act.call_spans import CallSpans
from otel_perfopt.act.enrolment import SHADOW, Use
from otel_perfopt.act.parameters.tool_cache import ToolCacheParameters
from otel_perfopt.act.parameters.warm_up import WarmCall, WarmUpParameters
from otel_perfopt.act.private_copy import Kept
from otel_perfopt.act.selection import Plan, Rule, ToolKey
from otel_perfopt.act.snapshot_source import InForce
from otel_perfopt.act.tool_cache import NAME as TOOL_CACHE
from otel_perfopt.act.tool_cache import ToolCache
from otel_perfopt.execution.model import ToolEffects
from otel_perfopt.signal.calls import RunContext, ToolCall
from otel_perfopt.signal.emit.faults import fault

NAME: Final = "warm_up"
AGAIN_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class WarmKept(Kept):
    """A kept result that remembers that somebody was given it."""

    used: list[bool] = field(default_factory=list)

    def give(self) -> object:
        """Return the result so that nobody else sees what is done to it."""
        if not self.used:
            self.used.append(True)
        return Kept.give(self)


class WarmUp:
    """Does once, in the background, what a policy wants ready, and keeps it ready if asked to; standing down stops it.

    Loaders are the host's own functions and do what they do. Calls are made only of tools that are
    read-only to every policy concerned, as plain synchronous functions, and where a `tool_cache` in force
    shares results in the whole process (otherwise nobody would see them), or where the policy lets
    results be thrown away. Each kept result counts as wasted that nobody was given by the end.
    """

    name = NAME

    def __init__(
        self, cache: ToolCache, in_force: Callable[[], InForce], adopt: Callable[[Plan], None], spans: CallSpans
    ) -> None:
        self._cache = cache
        self._in_force = in_force
        self._adopt = adopt
        self._spans = spans
        self._work: _Work | None = None
        self._done: list[_Work] = []
        self.counts: Counter[str] = Counter()

    def begin(self, use: Use) -> None:
        """Start warming up, in a thread of its own; in shadow only count what there would be to do."""
        parameters = use.rule.parameters
        assert isinstance(parameters, WarmUpParameters)
        if self._work is not None:
            return
        self._work = _Work(
            use,
            parameters,
            cache=self._cache,
            in_force=self._in_force_here,
            spans=self._spans,
            counts=self.counts,
        )
        if use.shadow:
            self.counts["foreseen"] += len(parameters.loaders) + len(parameters.calls)
        else:
            threading.Thread(target=self._work.run, name="perfopt-warm-up", daemon=True).start()

    def end(self) -> None:
        """Begin nothing more, and count what nobody used; what is kept stays until it is too old."""
        work, self._work = self._work, None
        if work is not None:
            work.stopped.set()
            work.settle()

    def tick(self, quiet_s: float) -> None:
        """Nothing to do: the thread goes on by itself."""

    def _in_force_here(self) -> InForce:
        """Return what is in force, adopted: what was kept under another plan is not used under this one."""
        in_force = self._in_force()
        self._adopt(in_force.plan)
        return in_force

    def facts(self) -> Mapping[str, int]:
        """Return how many loaders and calls were made or failed, and how many results were used or wasted."""
        work = self._work
        return {**self.counts, **({"claimed": self.counts["claimed"] + work.claimed()} if work else {})}

    def after_fork(self) -> None:
        """The parent's thread does not exist here and the child's cache is empty: warm up when begun again."""
        self._work = None


class _Work:
    """What one beginning has to do."""

    def __init__(
        self,
        use: Use,
        parameters: WarmUpParameters,
        *,
        cache: ToolCache,
        in_force: Callable[[], InForce],
        spans: CallSpans,
        counts: Counter[str],
    ) -> None:
        self._use = use
        self._parameters = parameters
        self._cache = cache
        self._in_force = in_force
        self._spans = spans
        self._counts = counts
        self._kept: list[WarmKept] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        """Do everything once, and from then on fetch again what is no longer kept, where the policy asks for that."""
        until_s = self._until_s()
        for loader in self._parameters.loaders:
            if self._over(until_s):
                return
            self._guarded("loaded", partial(call_loader, loader))
        self._make(self._parameters.calls, until_s)
        every_s = self._parameters.every_s
        while every_s and not self.stopped.wait(every_s):
            self._make([call for call in self._parameters.calls if self._is_kept_by_cache(call)], self._until_s())

    def _until_s(self) -> float:
        return time.monotonic() + self._parameters.max_s

    def _make(self, calls: Sequence[WarmCall], until_s: float) -> None:
        """Make calls; those of tools that are not known yet are tried again until the time is over."""
        waiting = list(calls)
        while waiting and not self._over(until_s):
            waiting = [call for call in waiting if not self._over(until_s) and not self._made(call)]
            if waiting:
                self.stopped.wait(AGAIN_S)
        self._counts["not_made"] += len(waiting)

    def _is_kept_by_cache(self, call: WarmCall) -> bool:
        template = self._spans.template(call.tool)
        return template is not None and self._cache_rule(template) is not None

    def claimed(self) -> int:
        """Return how many results somebody was given."""
        return sum(bool(kept.used) for kept in list(self._kept))

    def settle(self) -> None:
        """Count what was used and what was not."""
        used = self.claimed()
        self._counts["claimed"] += used
        self._counts["wasted"] += len(self._kept) - used

    def _over(self, until_s: float) -> bool:
        return self.stopped.is_set() or time.monotonic() >= until_s

    def _made(self, call: WarmCall) -> bool:
        """Make a call; False where its tool or a cache for it is not there yet."""
        template = self._spans.template(call.tool)
        rule = self._cache_rule(template) if template is not None else None
        if template is None or (rule is None and not (self._parameters.discard and self._reads(template))):
            return False
        if inspect.iscoroutinefunction(template.function):
            self._counts["refused"] += 1  # another event loop's clients would be used in this thread
            return True
        work = partial(self._fill, rule, template, call) if rule is not None else partial(_thrown_away, template, call)
        self._guarded("started", work)
        return True

    def _fill(self, rule: Rule, template: ToolCall, wanted: WarmCall) -> None:
        use = Use(rule, shadow=False)
        call = replace(template, kwargs=dict(wanted.arguments), run=RunContext(NAME))
        if self._cache.holds(use, call):
            return
        self._cache.around(use, call, _plain)
        entry = self._cache.entry(use, call)
        if entry is not None and not isinstance(entry.kept, WarmKept):
            kept = WarmKept(entry.kept.value, entry.kept.size, entry.kept.immutable)
            if self._cache.exchange(use, call, replace(entry, kept=kept)):
                self._kept.append(kept)

    def _cache_rule(self, template: ToolCall) -> Rule | None:
        """Return the rule of the cache that would answer the agent's call, where both policies see a read."""
        in_force, key = self._in_force(), ToolKey(template.tool, template.effects)
        if not self._reads(template):
            return None
        for rule in in_force.plan.tool_rules:
            decision, parameters = rule.decision, rule.parameters
            if (
                decision.optimization == TOOL_CACHE
                and decision.stage != SHADOW
                and decision.policy not in in_force.killed_policies
                and isinstance(parameters, ToolCacheParameters)
                and parameters.scope == "process"
                and rule.covers_tool(template.tool)
                and rule.effects(key) is ToolEffects.READ
            ):
                return rule
        return None

    def _reads(self, template: ToolCall) -> bool:
        return self._use.rule.effects(ToolKey(template.tool, template.effects)) is ToolEffects.READ

    def _guarded(self, counted: str, work: Callable[[], object]) -> None:
        try:
            work()
            self._counts[counted] += 1
        except BaseException as error:  # the host's code, in a thread of ours
            self._counts["errors"] += 1
            fault("act warm_up", error)


def call_loader(loader: str) -> None:
    """Call the function that `module:name` names, without arguments.

    Raises:
        TypeError: it is no plain function.
        Exception: whatever importing its module, finding it or calling it raises.
    """
    module, _, path = loader.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    if inspect.iscoroutinefunction(found):
        raise TypeError(f"{loader} is a coroutine function; what it prepares would belong to another event loop")
    found()


def _thrown_away(template: ToolCall, wanted: WarmCall) -> None:
    template.function(**dict(wanted.arguments))


def _plain(call: ToolCall) -> Any:
    return call.function(*call.args, **call.kwargs)
