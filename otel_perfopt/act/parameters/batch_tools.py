"""What a policy may set on `batch_tools`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from otel_perfopt.act.parameters.reading import SCOPES, refuse_unknown, seconds, whole, word
from otel_perfopt.act.parameters.tools import ToolParameters, read_invalidates


@dataclass(frozen=True, slots=True)
class BatchToolsParameters(ToolParameters):
    """How `batch_tools` puts calls together.

    The first call of a batch waits `window_s` for others, and no longer once there are `max_size`.
    `batch` names, by tool, the function that makes many (`module:function`), where the agent's code does
    not say it itself. `scope` is whose calls may go together: of one conversation (the default), one
    user, the whole process, or `tenant`.
    """

    window_s: float = 0.005
    max_size: int = 20
    scope: str = "conversation"
    batch: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> BatchToolsParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        known = ("window", "window_s", "max_size", "scope", "batch", "max_wait_s", "invalidates")
        refuse_unknown(raw, known)
        default = cls()
        forms = raw.get("batch") or {}
        if not isinstance(forms, Mapping) or not all(str(name).count(":") == 1 for name in forms.values()):
            raise ValueError("batch: must map tools to module:function")
        invalidates, complete = read_invalidates(raw)
        return cls(
            window_s=seconds(raw, "window_s", seconds(raw, "window", default.window_s)),
            max_size=whole(raw, "max_size", default.max_size, 2),
            scope=word(raw, "scope", default.scope, SCOPES),
            batch={str(tool): str(name) for tool, name in forms.items()},
            max_wait_s=seconds(raw, "max_wait_s", default.max_wait_s),
            invalidates=invalidates,
            complete=complete,
        )
