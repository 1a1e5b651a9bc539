"""`selective_context` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from otel_perfopt.decide.model_base import DeclaredModel, Text, one_as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Percent

Titles = Annotated[
    tuple[Text, ...], BeforeValidator(one_as_tuple, json_schema_input_type=Text | list[Text]), Field(max_length=200)
]
_REFERENCE = ("documentation", "docs", "reference*", "knowledge*", "appendix*", "faq*", "examples")


class SelectiveContextParameters(OptimizationParameters):
    """What of a prompt is sent only when it is needed.

    Sections `under` headings of these titles are left out and come back when a user's words are about them
    or something names them: at most `max_sections` for one thing said, each at least `min_score` as near as the
    nearest. Those to `keep`, and all where they are fewer than `min_chars` characters, stay. `drop_tools` are
    not offered unless used; beyond `max_history_chars` the oldest turns go (0: all stay).
    """

    under: Titles = _REFERENCE
    keep: Titles = ()
    max_sections: int = Field(default=3, ge=0, le=100)
    min_score: Percent = 0.5
    min_chars: int = Field(default=2000, ge=0, le=100_000_000)
    drop_tools: Titles = ()
    max_history_chars: int = Field(default=0, ge=0, le=100_000_000)


class SelectiveContext(DeclaredModel):
    """Send reference sections, tools and old turns only where they are needed."""

    type: Literal["selective_context"]
    parameters: SelectiveContextParameters = Field(default=SelectiveContextParameters(), alias="with")


KIND = OptimizationType(
    model=SelectiveContext,
    read_only=False,
    shadow_free=True,
    shortens_context=True,
    risk="medium: a section may be missing where nothing in the conversation points to it",
    does="leaves reference sections out of the prompt until something asks for them",
)
