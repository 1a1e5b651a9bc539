"""Prompts that break the provider's cache: runs in, calls that read far less from it than they could have out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable, RecentStates
from otel_perfopt.analyse.finding import Effect, Finding, Interval, Suggestion
from otel_perfopt.analyse.run_view import RunView
from otel_perfopt.analyse.top_evidence import TopEvidence
from otel_perfopt.analyse.units import Units
from otel_perfopt.analyse.usage_table import OTHER, model_of
from otel_perfopt.analyse.wording import percent_range, tokens
from otel_perfopt.execution.model import Execution, Step, Target

# Providers cache prefixes from about a thousand tokens on and keep them five minutes.
MIN_PREFIX_TOKENS = 2048
CACHE_LIFE_NS = 300 * 1_000_000_000
MIN_READ_SHARE = 0.5
MIN_BREAKS = 3
MIN_LOST_SHARE = 0.05

PREFIX, EXPIRED, MODEL, SHRUNK = "prefix", "expired", "model", "shrunk"
_CAUSES = {
    PREFIX: "with the same model, within five minutes and without the context getting shorter: the prefix had changed",
    EXPIRED: "after more than five minutes, when the cache had expired",
    MODEL: "on a change of model",
    SHRUNK: "where the context had been cut or compacted",
}


@dataclass(slots=True)
class _Conversation:
    sent: int = 0
    model: str = ""
    ended_ns: int = 0
    cached_before: bool = False


@dataclass(slots=True)
class _Command:
    runs: int = 0
    input: int = 0
    breaks: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    units: Units = field(default_factory=Units)
    evidence: TopEvidence = field(default_factory=TopEvidence)


class CacheBreak:
    """Finds commands that lose at least 5 % of their input tokens' cache reads to prompts that changed at the front.

    Only conversations that have read from a cache before are judged, call by call: a call should
    read at least half of what the call before it sent.
    """

    name = "cache_break"

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._commands: BoundedTable[str, _Command] = BoundedTable(_Command, overflow=OTHER, limit=100)
        self._open: RecentStates[str, _Conversation] = RecentStates(_Conversation)

    def observe(self, execution: Execution) -> None:
        """Take one run into account."""
        calls = [step for step in RunView.of(execution).inferences if step.tokens.cache_read is not None]
        if not calls:
            return
        command = self._commands[execution.command.name]
        command.runs += 1
        conversation = self._open[execution.conversation_id]
        sums = {"input": 0.0, PREFIX: 0.0}
        for step in calls:
            cause, lost = _judge(conversation, step, timed=execution.timed)
            sums["input"] += step.tokens.input or 0
            if cause:
                command.breaks[cause] += 1
                command.lost[cause] += lost
            if cause == PREFIX:
                sums[PREFIX] += lost
                note = f"read {tokens(step.tokens.cache_read or 0)} of {tokens(lost + (step.tokens.cache_read or 0))}"
                command.evidence.add(lost, execution, step, note)
            _remember(conversation, step)
        command.input += round(sums["input"])
        command.units.add(execution, sums)

    def findings(self) -> list[Finding]:
        """Return one finding for each command whose prompts break the cache."""
        found = []
        for name, command in self._commands.rows.items():
            share = command.units.ratio(PREFIX, "input", seed=self._seed)
            if share is not None and command.breaks[PREFIX] >= MIN_BREAKS and share.low >= MIN_LOST_SHARE:
                found.append(self._finding(name, command, share))
        return found

    def _finding(self, name: str, command: _Command, share: Interval) -> Finding:
        others = [
            f"{command.breaks[cause]} {_CAUSES[cause]}" for cause in (EXPIRED, MODEL, SHRUNK) if command.breaks[cause]
        ]
        beside = f" (besides {'; '.join(others)})" if others else ""
        scale = command.input / max(1, command.runs)
        return Finding(
            kind="cache_break",
            target=Target(command=name),
            summary=(
                f"{command.breaks[PREFIX]:,} model calls of {name or 'all runs'} missed the prompt cache "
                f"{_CAUSES[PREFIX]}; that is {percent_range(share)} of its input tokens{beside}."
            ),
            detector=self.name,
            effect=Effect(
                "input_tokens",
                "{token}",
                share,
                Interval(share.estimate * scale, share.low * scale, share.high * scale, share.level),
            ),
            occurrences=command.breaks[PREFIX],
            runs=command.runs,
            evidence=command.evidence.kept(),
            suggestion=Suggestion("prompt_cache", {}, {"command": (name or "*",)}),
        )


def _judge(conversation: _Conversation, step: Step, *, timed: bool) -> tuple[str, int]:
    sent, read = step.tokens.input or 0, step.tokens.cache_read or 0
    could = min(conversation.sent, sent)
    if not conversation.cached_before or could < MIN_PREFIX_TOKENS or read >= MIN_READ_SHARE * could:
        return "", 0
    lost = could - read
    if model_of(step) != conversation.model:
        return MODEL, lost
    if timed and step.start_ns - conversation.ended_ns > CACHE_LIFE_NS:
        return EXPIRED, lost
    if sent < 0.9 * conversation.sent:
        return SHRUNK, lost
    return PREFIX, lost


def _remember(conversation: _Conversation, step: Step) -> None:
    conversation.sent = step.tokens.input or 0
    conversation.model = model_of(step)
    conversation.ended_ns = step.end_ns
    wrote_or_read = bool(step.tokens.cache_read) or bool(step.tokens.cache_write)
    conversation.cached_before = conversation.cached_before or wrote_or_read
