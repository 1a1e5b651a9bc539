"""What the next command of a conversation reads first, with arguments from where: runs in, a small table of rules out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.call_miner import (
    MAX_RULES,
    MIN_PRECISION,
    MIN_TRIED,
    MinedCall,
    Pair,
    Source,
    resolve,
    sources_to_json,
)
from otel_perfopt.analyse.wilson import wilson

MAX_CONVERSATIONS = 4096
MAX_PAIRS = 2000
MAX_TOOLS = 64
# A conversation that has said nothing for ten times as long as usual between two commands (and no longer than five
# minutes) has ended, and whatever was foreseen for it was wrong.
MOST_IDLE_NS = 300_000_000_000
TIMES_USUAL = 10

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class OpeningRule:
    """When `after_command` has ended, call `call` for the next command, `command`, with arguments from their sources.

    `precision` is how often that command came next and made just this call before any write, of the
    `support` times that the rule could have been used; `precision_low` its lower end (95 %).
    """

    after_command: str
    command: str
    call: str
    arguments: Mapping[str, Source]
    precision: float
    precision_low: float
    support: int

    def to_json(self) -> dict[str, object]:
        """Return the rule as plain values, as a policy's parameters carry it."""
        return {
            "after_command": self.after_command,
            "command": self.command,
            "call": self.call,
            "arguments": sources_to_json(self.arguments),
            "precision": round(self.precision, 4),
            "precision_low": round(self.precision_low, 4),
            "support": self.support,
        }


@dataclass(frozen=True, slots=True)
class OpeningGuess:
    """A call that a rule would have made ahead of a run of `command`; `hit` is the call's place there, None if it did not come."""

    command: str
    call: str
    hit: int | None


@dataclass(slots=True)
class _Ended:
    """A conversation's last run: what its tools said last, and when it ended."""

    command: str
    ended_ns: int
    latest: dict[str, MinedCall] = field(default_factory=dict)


class OpeningMiner:
    """Learns from each run after having guessed it, as `CallMiner` does, from what the run before it knew."""

    def __init__(self) -> None:
        self._pairs: BoundedTable[_Key, Pair] = BoundedTable(Pair, overflow=("", "", ""), limit=MAX_PAIRS)
        self._after: dict[str, list[_Key]] = {}
        self._ended: dict[str, _Ended] = {}
        self._newest_ns = 0
        self._gaps_ns = self._gaps = 0

    def observe(
        self, conversation: str, command: str, calls: Sequence[MinedCall], *, ended_ns: int
    ) -> list[OpeningGuess]:
        """Guess a run from the one before it in its conversation, learn, and return the guesses of rules good enough."""
        guesses: list[OpeningGuess] = []
        before = self._ended.pop(conversation, None)
        opening = list(_opening(calls))
        if before is not None:
            self._gaps_ns += max(0, ended_ns - before.ended_ns)
            self._gaps += 1
            guesses = list(self._guesses(before, command, calls, opening))
            for tool, place in _first_of_each(calls, opening):
                key = self._known(before.command, command, tool)
                self._pairs[key].learn(calls[place], before.latest)
        if conversation:
            while len(self._ended) >= MAX_CONVERSATIONS:
                gone = self._ended.pop(next(iter(self._ended)))
                for key in self._due(gone):
                    self._pairs.rows[key].tried += 1
            self._ended[conversation] = _Ended(command, ended_ns, {call.tool: call for call in calls})
            self._newest_ns = max(self._newest_ns, ended_ns)
        return guesses

    def rules(self, command: str = "") -> tuple[OpeningRule, ...]:
        """Return the rules good enough to act on (for `command`), most precise first; at most 32."""
        unanswered = self._unanswered()
        found = [
            rule
            for key, pair in self._pairs.rows.items()
            if (not command or key[1] == command)
            and (rule := _rule(key, pair, pair.tried + unanswered.get(key, 0))) is not None
        ]
        found.sort(key=lambda rule: (-rule.precision_low, rule.after_command, rule.command, rule.call))
        return tuple(found[:MAX_RULES])

    def _guesses(
        self, before: _Ended, command: str, calls: Sequence[MinedCall], opening: Sequence[int]
    ) -> Iterator[OpeningGuess]:
        for key in self._due(before):
            pair = self._pairs.rows[key]
            wanted = None if pair.best is None else resolve(pair.best, before.latest)
            places = (at for at in opening if calls[at].tool == key[2] and dict(calls[at].arguments) == wanted)
            hit = next(places, None) if key[1] == command else None
            good = _rule(key, pair, pair.tried) is not None
            pair.tried += 1
            pair.right += hit is not None
            if good:
                yield OpeningGuess(key[1], key[2], hit)

    def _due(self, ended: _Ended) -> list[_Key]:
        """Return the rules that could have been used when that run ended."""
        return [
            key
            for key in self._after.get(ended.command, ())
            if (best := self._pairs.rows[key].best) is not None and resolve(best, ended.latest) is not None
        ]

    def _unanswered(self) -> dict[_Key, int]:
        found: dict[_Key, int] = {}
        usual_ns = self._gaps_ns // self._gaps if self._gaps else MOST_IDLE_NS
        idle_ns = min(MOST_IDLE_NS, TIMES_USUAL * usual_ns)
        for ended in self._ended.values():
            if self._newest_ns - ended.ended_ns > idle_ns:
                for key in self._due(ended):
                    found[key] = found.get(key, 0) + 1
        return found

    def _known(self, after: str, command: str, tool: str) -> _Key:
        key = (after, command, tool)
        keys = self._after.setdefault(after, [])
        if key in keys:
            return key
        if len(keys) >= MAX_TOOLS or len(self._pairs.rows) >= MAX_PAIRS:
            return ("", "", "")
        self._pairs[key]
        keys.append(key)
        return key


def _opening(calls: Sequence[MinedCall]) -> Iterator[int]:
    """Yield the places of a run's calls up to the first that may write."""
    for place, call in enumerate(calls):
        if not call.reads:
            return
        yield place


def _first_of_each(calls: Sequence[MinedCall], places: Sequence[int]) -> Iterator[tuple[str, int]]:
    seen: set[str] = set()
    for place in places:
        tool = calls[place].tool
        if tool not in seen:
            seen.add(tool)
            yield tool, place


def _rule(key: _Key, pair: Pair, tried: int) -> OpeningRule | None:
    precision = wilson(pair.right, tried)
    if not key[1] or pair.best is None or precision is None or tried < MIN_TRIED or precision.low < MIN_PRECISION:
        return None
    after, command, call = key
    return OpeningRule(after, command, call, dict(pair.best), precision.estimate, precision.low, tried)
