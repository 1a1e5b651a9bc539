"""Context sent again: runs in, how much of what models read they had read before, and the fixed opening, out."""

from __future__ import annotations

from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable, RecentStates
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER
from otel_perfopt.analyse.wording import percent, percent_range, tokens
from otel_perfopt.execution.model import Execution, Step, Target
from otel_perfopt.measure.sketch import QuantileSketch

MIN_UNCACHED_SHARE = 0.3
MIN_OPENING_SHARE = 0.5
MIN_OPENING_TOKENS = 2000
MIN_CALLS = 10
MIN_CALLS_A_RUN = 2.0


@dataclass(slots=True)
class _Command:
    calls: int = 0
    runs: int = 0
    input: int = 0
    opening: int = 0
    cache_known: bool = False
    openings: QuantileSketch = field(default_factory=QuantileSketch)
    units: Units = field(default_factory=Units)
    resent_evidence: TopEvidence = field(default_factory=TopEvidence)
    opening_evidence: TopEvidence = field(default_factory=TopEvidence)


class _Previous:
    """Tokens that the conversation's latest and first call sent."""

    __slots__ = ("opening", "sent")

    def __init__(self) -> None:
        self.opening = 0
        self.sent = 0


class ResentContext:
    """Finds commands that pay in full for what they had sent before, and those that load a large context every time.

    A call resends what the call before it sent, unless the source says otherwise; what the provider
    read from its cache is not counted as paid in full.
    """

    name = "resent_context"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._commands: BoundedTable[str, _Command] = BoundedTable(_Command, overflow=OTHER, limit=100)
        self._previous: RecentStates[str, _Previous] = RecentStates(_Previous)

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        calls = [step for step in RunView.of(execution).inferences if step.tokens.input]
        if not calls:
            return
        command = self._commands[execution.command.name]
        command.runs += 1
        sums = {"input": 0.0, "resent": 0.0, "uncached": 0.0, "opening": 0.0, "cached": 0.0}
        previous = self._previous[execution.conversation_id]
        # What opens the conversation, not the run: a later run starts with all that was said before.
        opening = previous.opening = previous.opening or calls[0].tokens.input or 0
        command.openings.add(opening)
        for step in calls:
            self._add_call(step, previous, opening, sums)
        command.calls += len(calls)
        command.cache_known = command.cache_known or any(step.tokens.cache_read is not None for step in calls)
        command.input += round(sums["input"])
        command.units.add(execution, sums)
        _show(command, execution, calls, sums, opening)

    @staticmethod
    def _add_call(step: Step, previous: _Previous, opening: int, sums: dict[str, float]) -> None:
        sent = step.tokens.input or 0
        said = step.tokens.resent
        resent = min(sent, previous.sent if said is None else said)
        sums["input"] += sent
        sums["resent"] += resent
        sums["uncached"] += max(0, resent - (step.tokens.cache_read or 0))
        sums["opening"] += min(sent, opening)
        sums["cached"] += min(sent, step.tokens.cache_read or 0)
        previous.sent = sent

    def findings(self) -> list[Finding]:
        """Return up to two findings a command: paid again, and loaded whole."""
        found = []
        for name, command in self._commands.rows.items():
            if command.calls < MIN_CALLS:
                continue
            uncached = command.units.ratio("uncached", "input", seed=self._seed)
            if uncached is not None and uncached.low >= MIN_UNCACHED_SHARE:
                found.append(self._resent(name, command, uncached))
            opening = command.units.ratio("opening", "input", seed=self._seed)
            typical = command.openings.quantile(0.5) or 0.0
            # The one call of a run is all opening, which says nothing.
            if command.calls < MIN_CALLS_A_RUN * command.runs:
                continue
            if opening is not None and opening.low >= MIN_OPENING_SHARE and typical >= MIN_OPENING_TOKENS:
                found.append(self._whole(name, command, opening, typical))
        return found

    def _resent(self, name: str, command: _Command, uncached: Interval) -> Finding:
        resent = command.units.total("resent") / command.units.total("input")
        known = f"{percent(resent)} of the input tokens of {name or 'all runs'} had been sent before, and "
        summary = f"{known}{percent_range(uncached)} were sent again without being read from a prompt cache."
        if not command.cache_known:
            summary = (
                f"{percent_range(uncached)} of the input tokens of {name or 'all runs'} had been sent before; the source "
                "does not say whether a prompt cache answered for them, so this is the most that one could."
            )
        return Finding(
            kind="resent_context",
            target=Target(command=name),
            summary=summary,
            detector=self.name,
            effect=Effect("input_tokens", "{token}", uncached, _per_run(uncached, command)),
            occurrences=command.calls,
            runs=command.runs,
            evidence=command.resent_evidence.kept(),
            suggestion=Suggestion("prompt_cache", {}, {"command": (name or "*",)}),
        )

    def _whole(self, name: str, command: _Command, opening: Interval, typical: float) -> Finding:
        cached = command.units.total("cached") / command.units.total("input")
        answered = f" ({percent(cached)} of the input was read from a prompt cache)" if command.cache_known else ""
        return Finding(
            kind="whole_context",
            target=Target(command=name),
            summary=(
                f"Conversations of {name or 'all runs'} open with {tokens(typical)} (median), and that opening is "
                f"{percent_range(opening)} of all its input tokens{answered}; what a task does not need could be left out."
            ),
            detector=self.name,
            effect=Effect("input_tokens", "{token}", opening, _per_run(opening, command)),
            occurrences=command.calls,
            runs=command.runs,
            evidence=command.opening_evidence.kept(),
            suggestion=Suggestion("selective_context", {}, {"command": (name or "*",)}),
        )


def _show(command: _Command, execution: Execution, calls: list[Step], sums: dict[str, float], opening: int) -> None:
    largest = max(calls, key=lambda step: step.tokens.input or 0)
    again = f"{len(calls)} calls sent {tokens(sums['input'])}, {tokens(sums['uncached'])} of it again"
    command.resent_evidence.add(sums["uncached"], execution, largest, again)
    command.opening_evidence.add(sums["opening"], execution, calls[0], f"its conversation opens with {tokens(opening)}")


def _per_run(share: Interval, command: _Command) -> Interval:
    scale = command.input / max(1, command.runs)
    return Interval(share.estimate * scale, share.low * scale, share.high * scale, share.level)
