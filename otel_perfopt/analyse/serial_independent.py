"""Calls made one after another for no reason: runs in, replies whose reads waited and independent reads out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.what_if import independent_pairs, serial_reads
from otel_perfopt.analyse.wilson import wilson
from otel_perfopt.analyse.wording import counted, percent_range, seconds
from otel_perfopt.execution.model import Execution, Step, Target

MIN_REPLIES = 3
MIN_SERIAL_SHARE = 0.1
MIN_PAIRS = 10
MIN_INDEPENDENT_SHARE = 0.2


@dataclass(slots=True)
class _Command:
    runs: int = 0
    runs_serial: int = 0
    replies: int = 0
    serial: int = 0
    serial_calls: int = 0
    waited_s: float = 0.0
    timed: bool = False
    pairs: int = 0
    independent: int = 0
    runs_independent: int = 0
    evidence: TopEvidence = field(default_factory=TopEvidence)
    across_evidence: TopEvidence = field(default_factory=TopEvidence)


class SerialIndependent:
    """Finds replies whose read-only calls waited for one another, and reads that two replies could have been one for.

    The first is certain: one reply asked for all of them. The second is a bound, of another kind:
    the later call uses no value of the earlier's result, but the model may have needed it to decide.
    """

    name = "serial_independent"

    def __init__(self, seed: int = 0) -> None:
        del seed  # proportions need no draws
        self._commands: BoundedTable[str, _Command] = BoundedTable(_Command, overflow=OTHER, limit=200)

    def observe(self, execution: Execution) -> None:
        """Take one run into account; without a clock nobody can tell whether calls of a reply waited."""
        command = self._commands[execution.command.name]
        command.runs += 1
        run = RunView.of(execution)
        if execution.timed:
            command.timed = True
            self._within(command, run)
        self._across(command, run)

    @staticmethod
    def _within(command: _Command, run: RunView) -> None:
        any_serial = False
        for calls in run.replies.values():
            reads = serial_reads(calls)
            command.replies += len(calls) > 1
            if len(reads) < 2:
                continue
            any_serial = True
            waited = sum(step.duration_s for step in reads) - max(step.duration_s for step in reads)
            command.serial += 1
            command.serial_calls += len(reads)
            command.waited_s += waited
            note = f"{len(reads)} reads of one reply one after another, {seconds(waited)} longer than together"
            command.evidence.add(waited, run.execution, reads[0], f"{note} ({_names(reads)})")
        command.runs_serial += any_serial

    @staticmethod
    def _across(command: _Command, run: RunView) -> None:
        command.pairs += len(run.adjacent_reads)
        pairs = independent_pairs(run)
        command.independent += len(pairs)
        command.runs_independent += bool(pairs)
        if pairs:
            first, second = max(pairs, key=lambda pair: min(pair[0].duration_s, pair[1].duration_s))
            note = (
                f"{second.name} uses nothing of {first.name} before it ({counted(len(pairs), 'such pair')} in this run)"
            )
            command.across_evidence.add(len(pairs), run.execution, second, note)

    def findings(self) -> list[Finding]:
        """Return up to two findings a command."""
        found = []
        for name, command in self._commands.rows.items():
            serial = wilson(command.serial, command.replies)
            if serial is not None and command.serial >= MIN_REPLIES and serial.low >= MIN_SERIAL_SHARE:
                found.append(self._serial(name, command))
            independent = wilson(command.independent, command.pairs)
            enough = command.independent >= MIN_PAIRS
            if independent is not None and enough and independent.low >= MIN_INDEPENDENT_SHARE:
                found.append(self._independent(name, command))
        return found

    def _serial(self, name: str, command: _Command) -> Finding:
        share = wilson(command.serial, command.replies)
        assert share is not None
        return Finding(
            kind="serial_independent",
            target=Target(command=name),
            summary=(
                f"In {percent_range(share)} of the {command.replies:,} replies that asked for several tools at once, "
                f"read-only calls were still made one after another: {command.serial_calls:,} calls, "
                f"{seconds(command.waited_s)} longer than together."
            ),
            detector=self.name,
            effect=Effect("replies", "1", share),
            occurrences=command.serial,
            runs=command.runs_serial,
            evidence=command.evidence.kept(),
            suggestion=Suggestion("parallel_tools", {}, {"command": (name or "*",)}),
        )

    def _independent(self, name: str, command: _Command) -> Finding:
        share = wilson(command.independent, command.pairs)
        assert share is not None
        return Finding(
            kind="independent_reads",
            target=Target(command=name),
            summary=(
                f"{percent_range(share)} of the {command.pairs:,} read-only calls right after another one use no value "
                "of its result (an upper bound: the model may have needed it to decide); "
                "asking for such calls in one reply would save the turns in between."
            ),
            detector=self.name,
            effect=Effect("adjacent_read_pairs", "1", share),
            occurrences=command.independent,
            runs=command.runs_independent,
            evidence=command.across_evidence.kept(),
            suggestion=Suggestion("preload", {}, {"command": (name or "*",)}),
        )


def _names(steps: list[Step]) -> str:
    names = sorted({step.name for step in steps})
    return ", ".join(names[:3])
