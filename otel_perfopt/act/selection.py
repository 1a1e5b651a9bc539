"""Which decisions apply to a call: a snapshot and a call's command and tool in, the rules that govern it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from otel_perfopt.act.call_scope import CallScope
from otel_perfopt.act.parameters.table import OPTIMIZATIONS, Seam
from otel_perfopt.act.parameters.tools import ToolParameters
from otel_perfopt.decide.decision import Decision, Match, Snapshot
from otel_perfopt.decide.personalization import NOTHING_PERSONAL, Personalization
from otel_perfopt.execution.model import ToolEffects

MEMO_LIMIT = 1024
_EFFECTS = {effects.value: effects for effects in ToolEffects}
_CAUTION = {ToolEffects.READ: 0, ToolEffects.UNKNOWN: 1, ToolEffects.WRITE: 2}


@dataclass(frozen=True, slots=True)
class ToolKey:
    """A tool as effects are resolved for it: its name and what it declares itself."""

    tool: str
    declared: str = ""


class Asker(NamedTuple):
    """For whom a call is made, as decisions may ask: what is preferred, and a digest of who it is; empty: not known."""

    preference: str = ""
    user: str = ""


NOBODY = Asker()


@dataclass(frozen=True, slots=True)
class Personal:
    """What a plan needs to tell people apart: the users that its rules name, and what was learned of all."""

    users: frozenset[str]
    table: Personalization


def parse_effects(items: Iterable[str]) -> dict[str, str]:
    """Read `glob=read` items; what is no such pair is left out, so it declares nothing."""
    pairs = (item.partition("=") for item in items)
    return {glob.strip(): word.strip() for glob, _, word in pairs if glob.strip() and word.strip() in _EFFECTS}


def resolve_effects(key: ToolKey, *tables: Mapping[str, str]) -> ToolEffects:
    """Return what a tool does: the first table that names it wins, then its own declaration, else unknown.

    Inside a table the most literal glob wins; between equally literal ones the most cautious word.
    """
    for table in tables:
        found = [
            (_literal(glob), _CAUTION[_word(word)], _word(word)) for glob, word in table.items() if _fits(glob, key)
        ]
        if found:
            return max(found, key=lambda item: item[:2])[2]
    return _word(key.declared)


def _word(text: str) -> ToolEffects:
    return _EFFECTS.get(text, ToolEffects.UNKNOWN)


def _fits(glob: str, key: ToolKey) -> bool:
    return fnmatchcase(key.tool, glob)


def _literal(glob: str) -> tuple[bool, int]:
    wild = sum(glob.count(sign) for sign in "*?[")
    return wild == 0, len(glob) - wild


@dataclass(frozen=True, slots=True)
class Rule:
    """A decision made ready to apply; `memo` keeps which writes touch which reads.

    `by_value` has the same rule with each value of the parameter that is tuned.
    """

    decision: Decision
    parameters: object
    declared: Mapping[str, str]
    memo: dict[tuple[ToolKey, str], bool] = field(default_factory=dict, compare=False)
    by_value: tuple[Rule, ...] = ()

    @property
    def seam(self) -> Seam:
        """Where the optimization stands."""
        return OPTIMIZATIONS[self.decision.optimization].seam

    def stands_at(self, seam: Seam) -> bool:
        """Tell whether the decision is about calls at that seam."""
        entry = OPTIMIZATIONS[self.decision.optimization]
        if entry.stands_at is None:
            return entry.seam is seam
        return entry.stands_at(self.parameters, self.decision.match, seam)

    def effects(self, key: ToolKey) -> ToolEffects:
        """Return what the tool does to the world as this decision sees it."""
        return resolve_effects(key, self.decision.effects, self.declared)

    @property
    def is_personal(self) -> bool:
        """Whether it depends on for whom a call is made."""
        match, exclude = self.decision.match, self.decision.exclude
        return bool(match.preference or match.user or exclude.preference or exclude.user)

    def is_for(self, asker: Asker) -> bool:
        """Tell whether the decision is about calls for `asker`; of nobody in particular only what asks nothing."""
        match, exclude = self.decision.match, self.decision.exclude
        return (
            (not match.preference or asker.preference in match.preference)
            and (not match.user or asker.user in match.user)
            and (not asker.preference or asker.preference not in exclude.preference)
            and (not asker.user or asker.user not in exclude.user)
        )

    def applies(self, command: str, key: ToolKey) -> bool:
        """Tell whether the decision is about this call; one excluded field is enough to leave it out.

        A tool call has no model, so a decision that names models is never about one.
        """
        values = {"command": command, "tool": key.tool, "model": "", "tool_effects": self.effects(key).value}
        return _matches_all(self.decision.match, values) and not _matches_any(self.decision.exclude, values)

    def applies_to_model(self, command: str, model: str) -> bool:
        """Tell whether the decision is about this call of a model; which tools it names is for the optimization to know."""
        values = {"command": command, "model": model}
        return _matches_all(self.decision.match, values) and not _matches_any(self.decision.exclude, values)

    def covers_tool(self, tool: str) -> bool:
        """Tell whether results of `tool` are meant, for optimizations that stand elsewhere than around its calls."""
        match, exclude = self.decision.match, self.decision.exclude
        return (not match.tool or _any_fits(match.tool, tool)) and not _any_fits(exclude.tool, tool)

    def touches(self, write: ToolKey, written: CallScope, read_tool: str, read: CallScope) -> bool:
        """Tell whether a call of `write` may have changed what a call of `read_tool` returned.

        What the policy says of the tools decides. Where it says nothing, a write of the same run or
        conversation touches everything, and a write of another one what shares a value with it: other
        conversations come and go at any moment anyway, as those of other processes do, which nobody sees.
        """
        if not self._tool_touches(write, read_tool):
            return False
        told = self._writes.invalidates or self._writes.complete
        return bool(told) or written.is_of_same(read) or written.may_meet(read)

    def _tool_touches(self, write: ToolKey, read_tool: str) -> bool:
        memo_key = (write, read_tool)
        known = self.memo.get(memo_key)
        if known is None:
            if len(self.memo) >= MEMO_LIMIT:
                self.memo.clear()
            known = self.memo[memo_key] = self._touches(write, read_tool)
        return known

    def _touches(self, write: ToolKey, read_tool: str) -> bool:
        if self.effects(write) is ToolEffects.READ:
            return False
        writes = self._writes
        named = [reads for glob, reads in writes.invalidates if fnmatchcase(write.tool, glob)]
        if not named:
            return not writes.complete
        return any(fnmatchcase(read_tool, glob) for reads in named for glob in reads)

    @property
    def _writes(self) -> ToolParameters:
        return self.parameters if isinstance(self.parameters, ToolParameters) else _NO_WRITES_NAMED

    def is_of(self, other: Rule | None) -> bool:
        """Tell whether both are of one decision, whatever value of a tuned parameter each has."""
        return other is not None and other.decision is self.decision

    def governs_like(self, other: Rule) -> bool:
        """Tell whether both do the same to a call they are applied to; stage and allocation may differ."""
        mine, theirs = self.decision, other.decision
        return (
            (mine.policy, mine.digest, mine.optimization) == (theirs.policy, theirs.digest, theirs.optimization)
            and (mine.match, mine.exclude, mine.effects) == (theirs.match, theirs.exclude, theirs.effects)
            and (self.parameters, self.declared) == (other.parameters, other.declared)
        )


_NO_WRITES_NAMED = ToolParameters()


def _matches_all(match: Match, values: Mapping[str, str]) -> bool:
    return all(_any_fits(getattr(match, name), value) for name, value in values.items() if getattr(match, name))


def _matches_any(match: Match, values: Mapping[str, str]) -> bool:
    return any(_any_fits(getattr(match, name), value) for name, value in values.items())


def _any_fits(globs: Iterable[str], value: str) -> bool:
    return any(fnmatchcase(value, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class Selection:
    """What governs one kind of call: at most one rule an optimization, all of them seeing a read-only tool.

    `may_write` tells that some rule of the plan does not see the tool as read-only.
    """

    key: ToolKey
    rules: Mapping[str, Rule]
    may_write: bool


class Plan:
    """A snapshot's decisions, made ready off the request path; immutable but for its memo."""

    __slots__ = (
        "_memo",
        "_model_memo",
        "_names",
        "inference_rules",
        "personal",
        "problems",
        "process_rules",
        "rules",
        "tool_rules",
    )

    def __init__(
        self,
        rules: tuple[Rule, ...] = (),
        problems: Counter[str] | None = None,
        table: Personalization = NOTHING_PERSONAL,
    ) -> None:
        self.rules = rules
        self.personal = _personal(rules, table)
        self.tool_rules = tuple(rule for rule in rules if rule.stands_at(Seam.TOOL))
        self.inference_rules = tuple(rule for rule in rules if rule.stands_at(Seam.INFERENCE))
        self.process_rules = tuple(rule for rule in rules if rule.seam is Seam.PROCESS)
        self.problems: Counter[str] = problems or Counter()
        self._names = frozenset(rule.decision.optimization for rule in rules)
        self._memo: dict[tuple[str, str, str, Asker], Selection] = {}
        self._model_memo: dict[tuple[str, str, Asker], Mapping[str, Rule]] = {}

    @classmethod
    def of(cls, snapshot: Snapshot, declared: Mapping[str, str] | None = None) -> Plan:
        """Make `snapshot` ready; `declared` holds the environment's effects by glob.

        A decision that cannot be applied is left out and counted in `problems`, so its calls stay plain.
        """
        rules: list[Rule] = []
        problems: Counter[str] = Counter()
        for decision in snapshot.decisions:
            rule = _rule_or_none(decision, declared or {})
            if rule is None:
                problems[str(decision.policy)] += 1
            else:
                rules.append(rule)
        return cls(tuple(rules), problems, snapshot.personalization)

    def has(self, optimization: str) -> bool:
        """Tell whether some rule is of that type."""
        return optimization in self._names

    def select(self, command: str, tool: str, declared: str, asker: Asker = NOBODY) -> Selection:
        """Return what governs a call of `tool` under `command`; the first rule of each optimization wins."""
        memo_key = (command, tool, declared, asker)
        selection = self._memo.get(memo_key)
        if selection is None:
            if len(self._memo) >= MEMO_LIMIT:
                self._memo.clear()
            selection = self._memo[memo_key] = self._select(command, ToolKey(tool, declared), asker)
        return selection

    def select_inference(self, command: str, model: str, asker: Asker = NOBODY) -> Mapping[str, Rule]:
        """Return what governs a call of `model` under `command`, by optimization; the first rule of each wins."""
        memo_key = (command, model, asker)
        chosen = self._model_memo.get(memo_key)
        if chosen is None:
            if len(self._model_memo) >= MEMO_LIMIT:
                self._model_memo.clear()
            chosen = {}
            for rule in self.inference_rules:
                if rule.applies_to_model(command, model) and rule.is_for(asker):
                    chosen.setdefault(rule.decision.optimization, rule)
            self._model_memo[memo_key] = chosen
        return chosen

    def _select(self, command: str, key: ToolKey, asker: Asker) -> Selection:
        chosen: dict[str, Rule] = {}
        may_write = False
        for rule in self.tool_rules:
            if rule.effects(key) is not ToolEffects.READ:
                may_write = True
            elif rule.applies(command, key) and rule.is_for(asker):
                chosen.setdefault(rule.decision.optimization, rule)
        return Selection(key, chosen, may_write)

    def governs_like(self, other: Plan) -> bool:
        """Tell whether both plans do the same to every tool call, allocation and stage aside."""
        return len(self.tool_rules) == len(other.tool_rules) and all(
            mine.governs_like(theirs) for mine, theirs in zip(self.tool_rules, other.tool_rules, strict=True)
        )


def _rule_or_none(decision: Decision, declared: Mapping[str, str]) -> Rule | None:
    try:
        return _rule(decision, declared)
    except Exception:
        # The snapshot's fields are only loosely typed: whatever is wrong with one, the others stand.
        return None


def _rule(decision: Decision, declared: Mapping[str, str]) -> Rule:
    allocation = decision.allocation
    treatment, baseline = float(allocation.treatment), float(allocation.baseline)
    if not (0 <= treatment <= 1 and 0 <= baseline <= 1 and treatment + baseline <= 1 + 1e-9):
        raise ValueError("shares are fractions that add up to at most 1")
    effects = {str(glob): str(word) for glob, word in decision.effects.items()}
    read = OPTIMIZATIONS[decision.optimization].read
    tuned = decision.tuned
    tried = () if tuned is None else [{**decision.parameters, tuned.parameter: value} for value in tuned.values]
    by_value = tuple(Rule(decision, read(parameters), declared) for parameters in tried)
    rule = Rule(decision, read(decision.parameters), declared, by_value=by_value)
    resolve_effects(ToolKey(""), effects)
    rule.applies("", ToolKey(""))
    rule.is_for(NOBODY)
    if rule.is_personal and rule.seam is Seam.PROCESS:
        raise ValueError("what changes the whole process is for nobody in particular")
    return rule


def _personal(rules: tuple[Rule, ...], table: Personalization) -> Personal | None:
    asking = [rule.decision for rule in rules if rule.is_personal]
    users = (user for decision in asking for match in (decision.match, decision.exclude) for user in match.user)
    return Personal(frozenset(users), table) if asking else None


NO_PLAN = Plan()
