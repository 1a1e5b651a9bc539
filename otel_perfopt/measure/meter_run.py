"""The steps of one run as they end in, what the run wasted and how it overlapped out."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from otel_perfopt import conventions as c

MAX_STEPS: Final = 4096
MAX_RUNS: Final = 1000


class MeterStep(NamedTuple):
    """A tool or model call: Unix ns, what it is, and for a tool the model call that asked for it."""

    start_ns: int
    end_ns: int
    kind: str
    name: str
    effects: str = ""
    requested_by: str = ""


@dataclass(slots=True)
class RunTotals:
    """What is known of one run so far; beyond 4,096 steps only sums are kept."""

    steps: list[MeterStep] = field(default_factory=list)
    answers: dict[tuple[str, str], str] = field(default_factory=dict)
    wasted_s: float = 0.0
    repeats: int = 0
    input_tokens: int = 0
    resent_tokens: int = 0
    cost_usd: float = 0.0

    def add(self, step: MeterStep) -> None:
        """Count a step."""
        if len(self.steps) < MAX_STEPS:
            self.steps.append(step)

    def answered(self, step: MeterStep, arguments: str, result: str) -> None:
        """Count a tool call by the digests of its arguments and result."""
        key = (step.name, arguments)
        before = self.answers.get(key)
        if len(self.answers) < MAX_STEPS:
            self.answers[key] = result
        if before is not None:
            self.repeats += 1
            if before == result and step.effects == "read":
                self.wasted_s += (step.end_ns - step.start_ns) / 1e9

    def sent(self, cost_usd: float | None, tokens: float | None, resent: object) -> None:
        """Count a model call: what it cost, its input tokens, and how many of them had been sent before."""
        self.cost_usd += cost_usd or 0.0
        if isinstance(resent, (int, float)):
            self.input_tokens += int(tokens or 0)
            self.resent_tokens += int(resent)

    def resent_share(self) -> float | None:
        """Return the part of input tokens that had been sent before, or None where nobody counted."""
        return self.resent_tokens / self.input_tokens if self.input_tokens else None

    def attributes(self) -> dict[str, Any]:
        """Return what the command's span is given."""
        critical, top = self._critical_path()
        found: dict[str, Any] = {
            c.WASTED_TOOL_TIME: self.wasted_s,
            c.REPEATED_CALLS: self.repeats,
            c.CRITICAL_PATH_INFERENCE: critical.get(c.STEP_INFERENCE, 0) / 1e9,
            c.CRITICAL_PATH_TOOL: critical.get(c.STEP_TOOL, 0) / 1e9,
        }
        share, overlap = self.resent_share(), self.parallelism()
        if share is not None:
            found[c.RESENT_SHARE] = share
        if overlap is not None:
            found[c.PARALLELISM_REACHED], found[c.PARALLELISM_POSSIBLE] = overlap
        if top:
            found[c.CRITICAL_PATH_TOP] = top
        return found

    def parallelism(self) -> tuple[float, float] | None:
        """Return the speed-up over one step after the other that was reached, and with reads of one reply together."""
        busy = sum(step.end_ns - step.start_ns for step in self.steps)
        elapsed = _union(self.steps)
        if not elapsed:
            return None
        replies: dict[str, list[MeterStep]] = {}
        for step in self.steps:
            if step.requested_by and step.effects == "read":
                replies.setdefault(step.requested_by, []).append(step)
        gain = sum(_union(reads) - max(step.end_ns - step.start_ns for step in reads) for reads in replies.values())
        return busy / elapsed, busy / max(1, elapsed - max(0, gain))

    def _critical_path(self) -> tuple[dict[str, int], str]:
        """Return ns on the critical path by kind, and the step with most: from the end back, always what ended last."""
        by_kind: dict[str, int] = {}
        by_name: dict[str, int] = {}
        moment: int | None = None
        for step in sorted(self.steps, key=lambda step: step.end_ns, reverse=True):
            end = step.end_ns if moment is None else min(moment, step.end_ns)
            if end <= step.start_ns:
                continue
            by_kind[step.kind] = by_kind.get(step.kind, 0) + end - step.start_ns
            name = f"{step.kind} {step.name}"
            by_name[name] = by_name.get(name, 0) + end - step.start_ns
            moment = step.start_ns
        return by_kind, max(by_name, key=by_name.__getitem__) if by_name else ""


class RunTable:
    """The runs under way by their command's span id; the oldest are forgotten beyond `limit`."""

    def __init__(self, limit: int = MAX_RUNS) -> None:
        self._limit = limit
        self._runs: OrderedDict[int, RunTotals] = OrderedDict()

    def of(self, span_id: int) -> RunTotals:
        """Return the run's totals, new ones if need be."""
        found = self._runs.get(span_id)
        if found is None:
            found = self._runs[span_id] = RunTotals()
            if len(self._runs) > self._limit:
                self._runs.popitem(last=False)
        return found

    def known(self, span_id: int) -> RunTotals | None:
        """Return the run's totals, if there are any."""
        return self._runs.get(span_id)

    def forget(self, span_id: int) -> RunTotals | None:
        """Return the run's totals and forget them."""
        return self._runs.pop(span_id, None)


def _union(steps: list[MeterStep]) -> int:
    total, until = 0, 0
    for step in sorted(steps, key=lambda step: step.start_ns):
        total += max(0, step.end_ns - max(until, step.start_ns))
        until = max(until, step.end_ns)
    return total
