"""Which call follows which, with arguments from where: runs' calls in, a small table of rules with precision out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from otel_perfopt.analyse.bounded_table import BoundedTable
from otel_perfopt.analyse.wilson import wilson

# A prediction counts as right when the call comes among the next three of later replies, before any write.
WINDOW = 3
MIN_TRIED = 10
MIN_PRECISION = 0.5
MAX_RULES = 32
MAX_PAIRS = 2000
MAX_SOURCES = 64
RESULT, ARGUMENTS = "result", "arguments"

# Where an argument comes from: the tool whose latest call has it, its result or its arguments, and the path in them.
Source = tuple[str, str, str]
Leaves = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MinedCall:
    """One tool call as the miner sees it: leaves are values' digests by path (`call_leaves`).

    `reply` tells calls of one reply, which are asked for together; `reads` that it may be made early.
    """

    tool: str
    arguments: Leaves
    result: Leaves
    reply: str
    reads: bool
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class CallRule:
    """After a call of `after`, call `call` with each argument taken from its source.

    `precision` is how often the call came, with just these arguments, of the `support` times that the
    rule could have been used, each judged before it was learnt from; `precision_low` its lower end (95 %).
    """

    after: str
    call: str
    arguments: Mapping[str, Source]
    precision: float
    precision_low: float
    support: int

    def to_json(self) -> dict[str, object]:
        """Return the rule as plain values, as a policy's parameters carry it."""
        return {
            "after": self.after,
            "call": self.call,
            "arguments": sources_to_json(self.arguments),
            "precision": round(self.precision, 4),
            "precision_low": round(self.precision_low, 4),
            "support": self.support,
        }


def sources_to_json(arguments: Mapping[str, Source]) -> dict[str, object]:
    """Return where arguments come from as plain values."""
    return {name: {"of": of, "from": part, "path": path} for name, (of, part, path) in arguments.items()}


@dataclass(frozen=True, slots=True)
class Prediction:
    """A call that a rule would have started when the call at `place` of the run ended; `hit` is the place it came at."""

    after: str
    call: str
    place: int
    hit: int | None


@dataclass(slots=True)
class Pair:
    """What is known of one tool following another; `best` has each argument's commonest source, None while one has none."""

    seen: int = 0
    sources: dict[str, Counter[Source]] = field(default_factory=dict)
    best: dict[str, Source] | None = None
    tried: int = 0
    right: int = 0

    def learn(self, following: MinedCall, latest: Mapping[str, MinedCall]) -> None:
        """Take into account that `following` came, when these were each tool's latest calls."""
        self.seen += 1
        for name, digest in following.arguments.items():
            counts = self.sources.setdefault(name, Counter())
            for source in _sources(latest, digest):
                if source in counts or len(counts) < MAX_SOURCES:
                    counts[source] += 1
        best = self._commonest(following)
        if best != self.best:
            # Another rule than the one judged so far.
            self.best, self.tried, self.right = best, 0, 0

    def _commonest(self, following: MinedCall) -> dict[str, Source] | None:
        best: dict[str, Source] = {}
        for name in following.arguments:
            counts = self.sources.get(name)
            # What is no name is a place deep in an argument, which nobody could fill in.
            if not counts or not name.isidentifier():
                return None
            source, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
            if count < MIN_PRECISION * self.seen:
                return None
            best[name] = source
        return best


class CallMiner:
    """Learns from each run after having guessed it, so that a rule's precision is that of foresight.

    A rule needs every argument of the call to come from the result or arguments of a tool called
    before; calls that may write are never foreseen, and none across a write.
    """

    def __init__(self) -> None:
        self._pairs: BoundedTable[tuple[str, str], Pair] = BoundedTable(Pair, overflow=("", ""), limit=MAX_PAIRS)
        self._after: dict[str, list[str]] = {}

    def observe(self, calls: Sequence[MinedCall]) -> list[Prediction]:
        """Guess a run's calls (in order of start), learn from them, and return the guesses of rules good enough."""
        guesses = list(self._guesses(calls))
        latest: dict[str, MinedCall] = {}
        for place, call in enumerate(calls):
            latest[call.tool] = call
            at = next(_coming(calls, place), None)
            if at is not None:
                self._learn(call.tool, calls[at], latest)
        return guesses

    def rules(self) -> tuple[CallRule, ...]:
        """Return the rules good enough to act on, most precise first; at most 32."""
        found = [rule for key, pair in self._pairs.rows.items() if (rule := _rule(*key, pair)) is not None]
        found.sort(key=lambda rule: (-rule.precision_low, rule.after, rule.call))
        return tuple(found[:MAX_RULES])

    def table(self) -> dict[str, object]:
        """Return the rules as one JSON-able value."""
        return {"version": 1, "rules": [rule.to_json() for rule in self.rules()]}

    def _guesses(self, calls: Sequence[MinedCall]) -> Iterator[Prediction]:
        latest: dict[str, MinedCall] = {}
        for place, call in enumerate(calls):
            latest[call.tool] = call
            coming = list(_coming(calls, place))
            for name in self._after.get(call.tool, ()):
                pair = self._pairs.rows.get((call.tool, name))
                if pair is None or pair.best is None:
                    continue
                wanted = resolve(pair.best, latest)
                if wanted is None or _known_already(calls, place, name, wanted):
                    continue
                hit = next(
                    (at for at in coming if calls[at].tool == name and dict(calls[at].arguments) == wanted), None
                )
                good = _rule(call.tool, name, pair) is not None
                pair.tried += 1
                pair.right += hit is not None
                if good:
                    yield Prediction(call.tool, name, place, hit)

    def _learn(self, after: str, following: MinedCall, latest: Mapping[str, MinedCall]) -> None:
        pair = self._pairs[after, following.tool]
        names = self._after.setdefault(after, [])
        if following.tool not in names and len(names) < MAX_SOURCES:
            names.append(following.tool)
        pair.learn(following, latest)


def _coming(calls: Sequence[MinedCall], place: int) -> Iterator[int]:
    """Yield the places of the next three reads of later replies, up to the first call that may write."""
    found = 0
    for at in range(place + 1, len(calls)):
        if not calls[at].reads:
            return
        if calls[at].reply and calls[at].reply == calls[place].reply:
            continue
        yield at
        found += 1
        if found == WINDOW:
            return


def _sources(latest: Mapping[str, MinedCall], digest: str) -> Iterator[Source]:
    for tool, call in latest.items():
        for part, leaves in ((RESULT, call.result), (ARGUMENTS, call.arguments)):
            for path, known in leaves.items():
                if known == digest:
                    yield tool, part, path


def resolve(sources: Mapping[str, Source], latest: Mapping[str, MinedCall]) -> dict[str, str] | None:
    """Return the arguments' digests by name; None where a source has no value."""
    wanted: dict[str, str] = {}
    for name, (tool, part, path) in sources.items():
        call = latest.get(tool)
        digest = None if call is None else (call.result if part == RESULT else call.arguments).get(path)
        if digest is None:
            return None
        wanted[name] = digest
    return wanted


def _known_already(calls: Sequence[MinedCall], place: int, tool: str, wanted: Mapping[str, str]) -> bool:
    # What was asked before needs no preload: that is a cache's business.
    return any(call.tool == tool and dict(call.arguments) == wanted for call in calls[: place + 1])


def _rule(after: str, call: str, pair: Pair) -> CallRule | None:
    precision = wilson(pair.right, pair.tried)
    if pair.best is None or precision is None or pair.tried < MIN_TRIED or precision.low < MIN_PRECISION:
        return None
    return CallRule(after, call, dict(pair.best), precision.estimate, precision.low, pair.tried)
