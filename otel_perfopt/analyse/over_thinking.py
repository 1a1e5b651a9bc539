"""Over-thinking: runs in, commands that spend a large part of their time or output on thinking out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.waiting import waits_for_person
from otel_perfopt.analyse.wording import percent_range, seconds, tokens
from otel_perfopt.execution.model import Execution, StepKind, Target

MIN_TIME_SHARE = 0.25
MIN_OUTPUT_SHARE = 0.5
MIN_RUNS = 3
TIME, THINKING, OUTPUT, REASONING = "time", "thinking", "output", "reasoning"


@dataclass(slots=True)
class _Command:
    runs: int = 0
    steps: int = 0
    estimated: int = 0
    units: Units = field(default_factory=Units)
    time_evidence: TopEvidence = field(default_factory=TopEvidence)
    output_evidence: TopEvidence = field(default_factory=TopEvidence)


class OverThinking:
    """Finds commands that think for at least a quarter of their time, or reason in at least half of their output."""

    name = "over_thinking"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._commands: BoundedTable[str, _Command] = BoundedTable(_Command, overflow=OTHER, limit=100)

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        command = self._commands[execution.command.name]
        thinking = execution.of_kind(StepKind.THINKING)
        command.runs += bool(thinking) or bool(RunView.of(execution).tokens.reasoning)
        command.steps += len(thinking)
        command.estimated += sum(step.estimated for step in thinking)
        sums = _times(execution) if execution.timed else {}
        usage = RunView.of(execution).tokens
        if usage.reasoning is not None and usage.output:
            sums |= {OUTPUT: float(usage.output), REASONING: float(usage.reasoning)}
            note = f"{tokens(usage.reasoning)} of {tokens(usage.output)} of output are reasoning"
            command.output_evidence.add(usage.reasoning, execution, None, note)
        if sums.get(THINKING):
            longest = max(thinking, key=lambda step: step.duration_s)
            note = f"thought for {seconds(longest.duration_s)} in one stretch, {seconds(sums[THINKING])} in this run"
            command.time_evidence.add(sums[THINKING], execution, longest, note)
        command.units.add(execution, sums)

    def findings(self) -> list[Finding]:
        """Return up to two findings a command: of its time, and of its output."""
        found = []
        for name, command in self._commands.rows.items():
            if command.runs < MIN_RUNS:
                continue
            time = command.units.ratio(THINKING, TIME, seed=self._seed)
            if time is not None and time.low >= MIN_TIME_SHARE:
                found.append(self._of_time(name, command, time))
            output = command.units.ratio(REASONING, OUTPUT, seed=self._seed)
            if output is not None and output.low >= MIN_OUTPUT_SHARE:
                found.append(self._of_output(name, command, output))
        return found

    def _of_time(self, name: str, command: _Command, share: Interval) -> Finding:
        inferred = " (most of it inferred, not observed)" if command.estimated * 2 > command.steps else ""
        summary = f"{name or 'The agent'} spends {percent_range(share)} of its time thinking{inferred}."
        return self._finding(name, command, summary, Effect("latency", "s", share), command.time_evidence)

    def _of_output(self, name: str, command: _Command, share: Interval) -> Finding:
        summary = f"{percent_range(share)} of the output tokens of {name or 'the agent'} are reasoning."
        return self._finding(name, command, summary, Effect("output_tokens", "{token}", share), command.output_evidence)

    def _finding(self, name: str, command: _Command, summary: str, effect: Effect, evidence: TopEvidence) -> Finding:
        return Finding(
            kind="over_thinking",
            target=Target(command=name),
            summary=summary,
            detector=self.name,
            effect=effect,
            occurrences=command.steps,
            runs=command.runs,
            evidence=evidence.kept(),
            suggestion=Suggestion("effort_routing", {}, {"command": (name or "*",)}),
        )


def _times(execution: Execution) -> dict[str, float]:
    sums = {TIME: 0.0, THINKING: 0.0}
    for segment in RunView.of(execution).path:
        if not waits_for_person(segment.step):
            sums[TIME] += segment.length_ns / 1e9
            if segment.step.kind is StepKind.THINKING:
                sums[THINKING] += segment.length_ns / 1e9
    return sums
