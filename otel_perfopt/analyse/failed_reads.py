"""Failed reads and what became of the same read asked for again: runs in, whether trying again would have helped out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_perfopt import conventions as c
from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Interval
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.execution.model import Execution, Outcome, Step, StepKind, ToolEffects

# As `retry_hedge` makes a tool's calls again unless a policy says otherwise.
RETRIES = 2
DEFAULT_BUDGET = 0.05
MOST_BUDGET = 0.5
BUDGET_STEP = 0.05
MIN_FAILED = 3
MIN_TRIES = 5
MIN_CHANCE = 0.3
MAX_NAMES = 20
# What error types say of themselves, spelled small and without marks.
_PASSING = [
    "timeout",
    "timedout",
    "deadline",
    "connection",
    "connecterror",
    "network",
    "readerror",
    "writeerror",
    "reset",
    "unreachable",
    "unavailable",
    "remoteprotocol",
    "disconnected",
    "temporar",
    "throttl",
    "ratelimit",
    "toomanyrequests",
    "overloaded",
    "brokenpipe",
]
_LASTING = [
    "valueerror",
    "typeerror",
    "keyerror",
    "indexerror",
    "lookuperror",
    "attributeerror",
    "assertionerror",
    "permission",
    "notfound",
    "authentic",
    "authoriz",
    "unauthorised",
    "forbidden",
    "invalid",
    "validation",
    "notimplemented",
    "jsondecode",
    "certificate",
    "cancel",
    "isadirectory",
    "notadirectory",
    "fileexists",
    "zerodivision",
    "notallowed",
    "denied",
]
# Clients' words for any HTTP status: the runtime sees which it was, and a policy must not call them all passing.
_ANY_STATUS = ("httpstatus", "httperror", "clienterror", "statuserror", "clientresponse", "rpcerror", "apierror")
_PASSING_STATUS = frozenset({"408", "425", "429", "500", "502", "503", "504", "529"})


@dataclass(frozen=True, slots=True)
class FailedRead:
    """A failed read of a run, and what came of it.

    `again` is the same read asked for next, `turns` the model's calls between the two where they led to nothing else.
    `fatal` tells that the command failed and the tool never answered after this.
    """

    step: Step
    again: Step | None
    turns: tuple[Step, ...]
    fatal: bool

    @property
    def mended(self) -> bool:
        """Whether the same read went well the next time."""
        return self.again is not None and self.again.error_type is None


def failed_reads(execution: Execution) -> tuple[FailedRead, ...]:
    """Return the run's reads that failed and may have failed in passing, in order of start."""
    calls = [step for step in execution.steps if step.kind in (StepKind.TOOL, StepKind.INFERENCE)]
    return tuple(
        _followed(execution, calls, place)
        for place, step in enumerate(calls)
        if step.kind is StepKind.TOOL and _failed(step) and passing(step) is not False
    )


def _failed(step: Step) -> bool:
    return step.error_type is not None and step.effects is ToolEffects.READ and not waits_for_person(step)


def _followed(execution: Execution, calls: list[Step], place: int) -> FailedRead:
    failed, turns, worked = calls[place], [], False
    again = None
    for step in calls[place + 1 :]:
        if step.kind is StepKind.INFERENCE:
            turns.append(step)
        elif _is_same(failed, step) and step.start_ns >= failed.end_ns:
            again = step
            break
        else:
            # Turns that did something else meanwhile would have been taken anyway.
            worked = worked or bool(turns)
    answered = any(step.name == failed.name and step.error_type is None for step in calls[place + 1 :])
    fatal = execution.outcome is Outcome.FAILED and again is None and not answered
    return FailedRead(failed, again, tuple(turns) if again is not None and not worked else (), fatal)


def _is_same(failed: Step, step: Step) -> bool:
    # Not every tracer describes the arguments of a call that failed.
    known = failed.arguments_digest and step.arguments_digest
    return step.name == failed.name and (not known or failed.arguments_digest == step.arguments_digest)


def passing(step: Step) -> bool | None:
    """Tell by what a failure says of itself whether it passes; None where it says neither."""
    status = str(step.attributes.get(c.HTTP_RESPONSE_STATUS_CODE, ""))
    said = "".join(sign for sign in (step.error_type or "").lower() if sign.isalnum())
    if status or said.isdigit():
        return (status or said) in _PASSING_STATUS
    if any(word in said for word in _LASTING):
        return False
    return True if any(word in said for word in _PASSING) else None


@dataclass(slots=True)
class _Reads:
    calls: int = 0
    failed: int = 0
    passing: int = 0
    again: int = 0
    mended: int = 0
    fatal: int = 0
    mended_by: Counter[str] = field(default_factory=Counter)
    again_by: Counter[str] = field(default_factory=Counter)


class FailedReads:
    """By tool, how often a read failed, and how often the same one went well when it was asked for again."""

    def __init__(self) -> None:
        self._tools: BoundedTable[str, _Reads] = BoundedTable(_Reads, overflow=OTHER, limit=300)

    def observe(self, run: RunView) -> None:
        """Take one run into account."""
        for step in run.tools:
            if step.effects is ToolEffects.READ:
                self._tools[step.name].calls += 1
        for read in run.derive(failed_reads):
            tool, kind = self._tools[read.step.name], read.step.error_type or OTHER
            tool.failed += 1
            tool.passing += passing(read.step) is True
            tool.fatal += read.fatal
            if read.again is not None and (kind in tool.again_by or len(tool.again_by) < MAX_NAMES):
                tool.again_by[kind] += 1
                tool.mended_by[kind] += read.mended
            tool.again += read.again is not None
            tool.mended += read.mended

    def has_failed(self, tool: str) -> bool:
        """Tell whether a read of the tool is known that may have failed in passing."""
        reads = self._tools.rows.get(tool)
        return reads is not None and reads.failed > 0

    def fatal(self, tool: str) -> int:
        """Return how many commands failed on a read of the tool that may have failed in passing."""
        reads = self._tools.rows.get(tool)
        return 0 if reads is None else reads.fatal

    def mended(self, tool: str) -> Interval | None:
        """Return which share of the failed reads two more tries would mend; None where nothing speaks for it.

        The chance of a try is that of the same reads asked for again by the agent. Where there were too few, and
        commands failed on errors that say that they pass, it is that of any call of the tool.
        """
        reads = self._tools.rows.get(tool)
        if reads is None or reads.failed < MIN_FAILED:
            return None
        if reads.again >= MIN_TRIES:
            chance = wilson(reads.mended, reads.again)
        elif reads.fatal and 2 * reads.passing >= reads.failed:
            chance = wilson(reads.calls - reads.failed, reads.calls)
        else:
            return None
        if chance is None or chance.low < MIN_CHANCE:
            return None
        return Interval(_within(chance.estimate), _within(chance.low), _within(chance.high), chance.level)

    def parameters(self, tool: str) -> Mapping[str, object]:
        """Return what a policy needs beside its defaults: a budget that suffices, and the tool's own words for "later"."""
        reads = self._tools.rows.get(tool)
        if reads is None or not reads.calls:
            return {}
        # A first try again for each failure, and a second for those that it did not mend.
        missed = 1 - (reads.mended / reads.again if reads.again >= MIN_TRIES else 1 - reads.failed / reads.calls)
        share = math.ceil(reads.failed * (1 + missed) / reads.calls / BUDGET_STEP) * BUDGET_STEP
        found: dict[str, object] = {}
        if share > DEFAULT_BUDGET + 1e-9:
            found["budget"] = f"{min(share, MOST_BUDGET) * 100:.0f}%"
        named = sorted(kind for kind, count in reads.again_by.items() if _own_word(kind, count, reads.mended_by[kind]))
        return {**found, "transient": named} if named else found


def _within(chance: float) -> float:
    return 1 - (1 - chance) ** RETRIES


def _own_word(kind: str, again: int, mended: int) -> bool:
    said = "".join(sign for sign in kind.lower() if sign.isalnum())
    known = said.isdigit() or any(word in said for word in (*_PASSING, *_ANY_STATUS))
    is_name = all(part.isidentifier() for part in kind.split("."))
    return is_name and not known and again >= MIN_FAILED and 2 * mended >= again
