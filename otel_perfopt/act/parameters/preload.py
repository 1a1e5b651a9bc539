"""What a policy may set on `preload`: a decision's parameters in, rules by what they follow and checked values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from otel_perfopt.act.parameters.reading import number, refuse_unknown, seconds, whole
from otel_perfopt.act.parameters.tools import ToolParameters, read_invalidates

RESULT, ARGUMENTS = "result", "arguments"
MAX_RULES = 200
_KNOWN = (
    "rules",
    "next_commands",
    "min_precision",
    "max_in_flight",
    "ttl",
    "ttl_s",
    "budget",
    "max_wait_s",
    "invalidates",
)
_RULE_KNOWN = ("after", "after_command", "command", "call", "arguments", "precision", "precision_low", "support")


@dataclass(frozen=True, slots=True)
class Source:
    """Where an argument comes from: the latest call of the tool `of`, its result or its arguments, the place in them."""

    of: str
    part: str
    path: str


@dataclass(frozen=True, slots=True)
class PreloadRule:
    """After `after` (a tool), or after the command `after_command` for the command `command`, call `call`.

    `arguments` has a source for each argument. `precision` is how often the call came where the rule
    was mined; 1 where nobody said.
    """

    call: str
    arguments: Mapping[str, Source]
    after: str = ""
    after_command: str = ""
    command: str = ""
    precision: float = 1.0

    @property
    def sources(self) -> Iterable[Source]:
        """Where the arguments come from."""
        return self.arguments.values()


@dataclass(frozen=True, slots=True)
class PreloadParameters(ToolParameters):
    """How `preload` makes calls that nobody has asked for yet.

    A rule is used while it is right at least `min_precision` of the time; `max_in_flight` bounds the
    calls under way for one conversation, `ttl_s` how old a result may be when it is asked for, and
    `budget` the wasted calls as a share of the agent's own. `next_commands` (a table by the commands
    before) can only hold rules for a next command back.
    """

    rules: tuple[PreloadRule, ...] = ()
    next_commands: Mapping[str, object] = field(default_factory=dict)
    min_precision: float = 0.6
    max_in_flight: int = 4
    ttl_s: float = 30.0
    budget: float = 0.2
    paths: Mapping[tuple[str, str], frozenset[str]] = field(init=False, compare=False, default_factory=dict)
    calls: frozenset[str] = field(init=False, compare=False, default=frozenset())

    def __post_init__(self) -> None:
        paths: dict[tuple[str, str], set[str]] = {}
        for source in (source for rule in self.rules for source in rule.sources):
            paths.setdefault((source.of, source.part), set()).add(source.path)
        object.__setattr__(self, "paths", {key: frozenset(found) for key, found in paths.items()})
        object.__setattr__(self, "calls", frozenset(rule.call for rule in self.rules))

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> PreloadParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, _KNOWN)
        default = cls()
        next_commands = raw.get("next_commands") or {}
        if not isinstance(next_commands, Mapping):
            raise ValueError("next_commands: must be a table of contexts")  # noqa: TRY004 - one kind of error
        invalidates, complete = read_invalidates(raw)
        return cls(
            rules=_rules(raw.get("rules")),
            next_commands=next_commands,
            min_precision=number(raw, "min_precision", default.min_precision, 0.0, 1.0),
            max_in_flight=whole(raw, "max_in_flight", default.max_in_flight),
            ttl_s=seconds(raw, "ttl_s", seconds(raw, "ttl", default.ttl_s)),
            budget=number(raw, "budget", default.budget, 0.0, 1.0),
            max_wait_s=seconds(raw, "max_wait_s", default.max_wait_s),
            invalidates=invalidates,
            complete=complete,
        )


def _rules(raw: object) -> tuple[PreloadRule, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, Sequence) or isinstance(raw, str) or len(raw) > MAX_RULES:
        raise ValueError(f"rules: must be a list of at most {MAX_RULES} rules")
    return tuple(_rule(item) for item in raw)


def _rule(raw: object) -> PreloadRule:
    if not isinstance(raw, Mapping):
        raise ValueError("rules: each must be a mapping")  # noqa: TRY004 - one kind of error for a bad parameter
    refuse_unknown(raw, _RULE_KNOWN)
    after, after_command, call = (str(raw.get(name) or "") for name in ("after", "after_command", "call"))
    if not call or bool(after) == bool(after_command):
        raise ValueError("rules: each needs `call`, and either `after` or `after_command`")
    command = str(raw.get("command") or "")
    if bool(command) != bool(after_command):
        raise ValueError("rules: `after_command` and `command` belong together")
    arguments = raw.get("arguments") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError("rules: arguments must be a mapping")  # noqa: TRY004 - as above
    number(raw, "precision_low", 0.0, 0.0, 1.0)  # for people; the floor here is what is lived
    return PreloadRule(
        call,
        {str(name): _source(str(name), item) for name, item in arguments.items()},
        after,
        after_command,
        command,
        number(raw, "precision", 1.0, 0.0, 1.0),
    )


def _source(name: str, raw: object) -> Source:
    if not name.isidentifier():
        raise ValueError(f"rules: {name!r} is no argument's name")
    if not isinstance(raw, Mapping):
        raise ValueError(f"rules: {name}: must be a mapping")  # noqa: TRY004 - as above
    refuse_unknown(raw, ("of", "from", "path"))
    source = Source(str(raw.get("of") or ""), str(raw.get("from") or RESULT), str(raw.get("path") or ""))
    if not source.of or not source.path or source.part not in (RESULT, ARGUMENTS):
        raise ValueError(f"rules: {name}: needs `of` (a tool), `from` (result or arguments) and `path`")
    return source
