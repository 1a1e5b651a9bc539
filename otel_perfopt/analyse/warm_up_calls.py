"""First calls that are slower than later ones: runs in, what to make ready before it is needed out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log, sqrt
from typing import Final

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.detector import Detector
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.student_t import student_t
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.analyse.wording import counted, percent_range, seconds
from otel_perfopt.execution.model import Execution, Step, StepKind, Target, ToolEffects
from otel_perfopt.signal.digest import content_digest

QUIET_NS: Final = 600 * 1_000_000_000
MIN_COLD, MIN_WARM = 8, 20
# One tool in a thousand is called cold by accident; the interval that is told is the usual one.
ALPHA: Final = 0.001
MIN_SLOWER: Final = 0.1
# A read that is asked so often, in so many conversations, is worth having ready.
MIN_ASKED, MIN_CONVERSATIONS = 10, 5
MAX_ARGUMENTS: Final = 200
MAX_CALLS: Final = 20
# Of what was asked again, at most one answer in a hundred may have been another.
MIN_SAME: Final = 0.99
AHEAD: Final = "5m"
EVERY: Final = "1m"
WARM_UP: Final = "warm_up"
RECORDED: Final = "recorded"
_NO_ARGUMENTS: Final = content_digest({})


@dataclass(slots=True)
class _Logs:
    """How long calls take, on the logarithm."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    total_s: float = 0.0

    def add(self, length_s: float) -> None:
        value = log(length_s)
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)
        self.total_s += length_s

    @property
    def error(self) -> float:
        """The variance of the mean."""
        return self.squares / (self.count - 1) / self.count


@dataclass(slots=True)
class _Asked:
    """One call as it is asked for again and again, and where it was last recorded: what it was asked is content."""

    tool: str
    digest: str
    first_result: str
    count: int = 0
    conversations: set[str] = field(default_factory=set)
    total_s: float = 0.0
    other_results: int = 0
    trace_id: str = ""
    span_id: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the call as a policy names it; arguments that are not known by where they can be read."""
        if self.digest == _NO_ARGUMENTS:
            return {"tool": self.tool, "arguments": {}}
        return {"tool": self.tool, RECORDED: {"trace_id": self.trace_id, "span_id": self.span_id}}

    @property
    def is_hot(self) -> bool:
        """Whether many conversations ask for it and are told the same."""
        same = 1 - self.other_results / self.count if self.count else 0.0
        return self.count >= MIN_ASKED and len(self.conversations) >= MIN_CONVERSATIONS and same >= MIN_SAME


@dataclass(slots=True)
class _Tool:
    warm: _Logs = field(default_factory=_Logs)
    cold: _Logs = field(default_factory=_Logs)
    latest_ns: int = 0
    asked: dict[str, _Asked] = field(default_factory=dict)
    evidence: TopEvidence = field(default_factory=TopEvidence)


@dataclass(frozen=True, slots=True)
class ColdTool:
    """A tool whose first call after a start or a silence is slower: by which share of it, and by how many seconds."""

    name: str
    saved: Interval
    extra_s: float
    cold_calls: int


class WarmUpCalls:
    """Finds reads that are slower when nobody made them a while ago, and reads that many conversations ask for.

    Cold is the first call of a tool in a process's first command, and one after ten minutes in which
    nobody called it; all others are warm. The difference of the mean logarithms must exclude nothing at 99.9 %.
    What a call was asked is content, which is not read here: calls are named by where they were recorded.
    """

    name = "warm_up_calls"

    def __init__(self, seed: int = 0) -> None:
        del seed  # nothing is drawn
        self._tools: BoundedTable[tuple[str, str], _Tool] = BoundedTable(_Tool, overflow=("", OTHER), limit=500)

    def observe(self, execution: Execution) -> None:
        """Take one run into account; what a cache answered, what failed and what waits for a person says nothing."""
        if not execution.timed:
            return
        starting = c.PROCESS_START_TIME in execution.command.attributes
        seen: set[str] = set()
        for step in execution.steps:
            if step.kind is StepKind.TOOL and step.effects is ToolEffects.READ and _tells(step):
                tool = self._tools[execution.command.target.service, step.name]
                self._add(tool, step, execution, starting=starting and step.name not in seen)
                seen.add(step.name)

    def findings(self) -> list[Finding]:
        """Return one finding for each service with tools that are surely slower cold."""
        found = []
        for service in sorted({service for service, _ in self._tools.rows}):
            tools = {name: tool for (one, name), tool in self._tools.rows.items() if one == service}
            cold = sorted(
                filter(None, (_cold(name, tool) for name, tool in tools.items())), key=lambda one: -one.extra_s
            )
            if cold:
                found.append(self._finding(service, tools, cold))
        return found

    def calls(self, service: str = "") -> tuple[Mapping[str, object], ...]:
        """Return the calls worth having ready, those of cold tools first, as a policy's parameters name them."""
        tools = {name: tool for (one, name), tool in self._tools.rows.items() if service in {"", one}}
        cold = [tool for name, tool in tools.items() if _cold(name, tool) is not None]
        first = [asked for tool in cold if (asked := _commonest(tool)) is not None]
        hot = [asked for tool in tools.values() for asked in tool.asked.values() if asked.is_hot]
        hot.sort(key=lambda asked: (-asked.total_s, asked.tool, asked.digest))
        each = {(asked.tool, asked.digest): asked.to_json() for asked in (*first, *hot)}
        return tuple(each.values())[:MAX_CALLS]

    def _add(self, tool: _Tool, step: Step, execution: Execution, *, starting: bool) -> None:
        quiet = tool.latest_ns > 0 and step.start_ns - tool.latest_ns > QUIET_NS
        unknown = tool.latest_ns == 0 and not starting  # nobody knows what was before
        tool.latest_ns = max(tool.latest_ns, step.end_ns)
        if starting or quiet:
            tool.cold.add(step.duration_s)
            tool.evidence.add(
                step.duration_s, execution, step, f"{step.name} took {seconds(step.duration_s)} when cold"
            )
        elif not unknown:
            tool.warm.add(step.duration_s)
        _ask(tool, step, execution.conversation_id)

    def _finding(self, service: str, tools: Mapping[str, _Tool], cold: Sequence[ColdTool]) -> Finding:
        most = cold[0]
        calls = tuple(call for call in self.calls(service) if call["tool"] in {one.name for one in cold})
        told = ", ".join(f"{one.name} by {seconds(one.extra_s)}, {percent_range(one.saved)} of it" for one in cold[:5])
        total = sum(one.cold_calls for one in cold)
        return Finding(
            kind="cold_start",
            target=Target(service=service, tool=most.name if len(cold) == 1 else ""),
            summary=f"The first call after a start or ten quiet minutes is slower: {told} ({counted(total, 'such call')}).",
            detector=self.name,
            effect=Effect("cold_call", "s", most.saved, most.saved.times(most.extra_s / most.saved.estimate)),
            occurrences=total,
            evidence=tools[most.name].evidence.kept(),
            suggestion=Suggestion("warm_up", {"calls": calls, "discard": True}, {"command": ("*",)}) if calls else None,
        )


def with_warm_calls(findings: Iterable[Finding], detectors: Iterable[Detector]) -> list[Finding]:
    """Give every suggestion to warm up that names nothing the calls that are worth having ready.

    Calls take seconds and what they give is kept for minutes, so before a peak they are made shortly
    before it and again while it lasts. Where no calls are known the suggestion stays as it is.
    """
    miner = next((one for one in detectors if isinstance(one, WarmUpCalls)), None)
    calls = miner.calls() if miner is not None else ()
    return [_with_calls(finding, calls) for finding in findings] if calls else list(findings)


def _with_calls(finding: Finding, calls: tuple[Mapping[str, object], ...]) -> Finding:
    suggestion = finding.suggestion
    if suggestion is None or suggestion.optimization != WARM_UP or suggestion.parameters:
        return finding
    when = {**suggestion.when, "ahead": AHEAD} if "ahead" in suggestion.when else suggestion.when
    parameters = {"calls": calls, "discard": True, "every": EVERY}
    return replace(finding, suggestion=replace(suggestion, parameters=parameters, when=when))


def _tells(step: Step) -> bool:
    attributes = step.attributes
    plain = not attributes.get(c.CACHE_HIT) and not attributes.get(c.SPECULATIVE)
    return plain and step.error_type is None and step.end_ns > step.start_ns and not waits_for_person(step)


def _ask(tool: _Tool, step: Step, conversation: str) -> None:
    digest = step.arguments_digest
    asked = tool.asked.get(digest)
    if asked is None:
        if not digest or len(tool.asked) >= MAX_ARGUMENTS:
            return
        asked = tool.asked[digest] = _Asked(step.name, digest, step.result_digest)
    asked.count += 1
    asked.total_s += step.duration_s
    asked.other_results += step.result_digest != asked.first_result
    asked.trace_id, asked.span_id = step.trace_id, step.span_id
    if len(asked.conversations) < MIN_CONVERSATIONS:
        asked.conversations.add(conversation)


def _commonest(tool: _Tool) -> _Asked | None:
    return max(tool.asked.values(), key=lambda asked: (asked.count, asked.digest), default=None)


def _cold(name: str, tool: _Tool) -> ColdTool | None:
    """Return by how much a tool is slower cold; None where it surely is not, or nobody can tell."""
    cold, warm = tool.cold, tool.warm
    if cold.count < MIN_COLD or warm.count < MIN_WARM:
        return None
    slower, error = cold.mean - warm.mean, sqrt(cold.error + warm.error)
    freedom = min(cold.count, warm.count) - 1
    if slower - student_t(ALPHA, freedom) * error <= 0:
        return None
    margin = student_t(0.05, freedom) * error
    saved = Interval(slower, slower - margin, slower + margin).through(lambda value: 1 - exp(-value))
    if saved.estimate < MIN_SLOWER:
        return None
    extra_s = cold.total_s / cold.count - warm.total_s / warm.count
    return ColdTool(name, saved, max(0.0, extra_s), cold.count)
