"""What a policy may set on `selective_context`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import number, refuse_unknown, texts, whole

_KNOWN = ("under", "keep", "max_sections", "min_score", "min_chars", "drop_tools", "max_history_chars")
REFERENCE = ("documentation", "docs", "reference*", "knowledge*", "appendix*", "faq*", "examples")


@dataclass(frozen=True, slots=True)
class SelectiveContextParameters:
    """What of a prompt is sent only when it is needed.

    Sections that lie `under` a heading of such a title (globs) are left out, except those to `keep`, and
    those of fewer than `min_chars` characters altogether; an outline names them. For each thing a user
    says the `max_sections` most relevant come back, of at least the share `min_score` of the best one's
    score; so does every section that a user or a tool names. Definitions of `drop_tools` are not sent
    unless the conversation used them. Of a history beyond `max_history_chars` the oldest turns go (0: all stay).
    """

    under: tuple[str, ...] = REFERENCE
    keep: tuple[str, ...] = ()
    max_sections: int = 3
    min_score: float = 0.5
    min_chars: int = 2000
    drop_tools: tuple[str, ...] = ()
    max_history_chars: int = 0

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> SelectiveContextParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, _KNOWN)
        default = cls()
        return cls(
            under=texts(raw, "under") if "under" in raw else default.under,
            keep=texts(raw, "keep"),
            max_sections=whole(raw, "max_sections", default.max_sections, 0),
            min_score=number(raw, "min_score", default.min_score, 0, 1),
            min_chars=whole(raw, "min_chars", default.min_chars, 0),
            drop_tools=texts(raw, "drop_tools"),
            max_history_chars=whole(raw, "max_history_chars", default.max_history_chars, 0),
        )
