"""What a policy may set on `warm_up`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_perfopt.act.parameters.reading import refuse_unknown, seconds, switch, texts

MAX_CALLS = 200


@dataclass(frozen=True, slots=True)
class WarmCall:
    """One read-only tool call to make ahead."""

    tool: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WarmUpParameters:
    """What is made ready before it is needed.

    `loaders` are functions without arguments (`module:function`) of the host's own; `calls` are made once
    each, where the tool is declared read-only and a cache in force for the whole process keeps the result. With `discard` they are
    made without one too, for what they leave ready (connections, loaded models), and the result is thrown away. All together begin
    nothing new after `max_s`. Every `every_s` (0: never) what the cache has let go of since is fetched again.
    """

    loaders: tuple[str, ...] = ()
    calls: tuple[WarmCall, ...] = ()
    max_s: float = 30.0
    discard: bool = False
    every_s: float = 0.0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> WarmUpParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type, a loader that names no function, or nothing to do.
        """
        refuse_unknown(raw, ("loaders", "calls", "max_s", "discard", "every_s"))
        loaders, calls = texts(raw, "loaders"), _calls(raw.get("calls", ()))
        for loader in loaders:
            module, _, name = loader.partition(":")
            if not (module and name):
                raise ValueError(f"loaders: {loader!r} is no module:function")
        if not (loaders or calls):
            raise ValueError("loaders: name at least one, or some calls")
        default = cls()
        return cls(
            loaders,
            calls,
            seconds(raw, "max_s", default.max_s),
            discard=switch(raw, "discard", default=default.discard),
            every_s=seconds(raw, "every_s", default.every_s) if raw.get("every_s") else default.every_s,
        )


def _calls(raw: object) -> tuple[WarmCall, ...]:
    if not isinstance(raw, (list, tuple)) or len(raw) > MAX_CALLS:
        raise ValueError(f"calls: must be a list of at most {MAX_CALLS} calls")
    return tuple(_call(item) for item in raw)


def _call(raw: object) -> WarmCall:
    tool = raw.get("tool") if isinstance(raw, Mapping) else None
    arguments = raw.get("arguments", {}) if isinstance(raw, Mapping) else None
    if not isinstance(tool, str) or not tool or not isinstance(arguments, Mapping):
        raise ValueError("calls: each names a tool and its arguments")
    return WarmCall(tool, {str(name): value for name, value in arguments.items()})
