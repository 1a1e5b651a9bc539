"""What a policy may set on `prompt_tidy`: a decision's parameters in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from otel_perfopt.act.parameters.reading import refuse_unknown, texts, whole


@dataclass(frozen=True, slots=True)
class PromptTidyParameters:
    """What may go from instructions.

    Paragraphs of at least `min_chars` characters that stand there already go, and so do sections whose
    heading is one of `drop_sections` (as it is written, without its signs) and sections with nothing in them.
    """

    min_chars: int = 24
    drop_sections: tuple[str, ...] = ()

    @classmethod
    def read(cls, raw: Mapping[str, object]) -> PromptTidyParameters:
        """Check and convert.

        Raises:
            ValueError: an unknown name, a wrong type or a value out of range.
        """
        refuse_unknown(raw, ("min_chars", "drop_sections"))
        return cls(whole(raw, "min_chars", cls().min_chars), texts(raw, "drop_sections"))
