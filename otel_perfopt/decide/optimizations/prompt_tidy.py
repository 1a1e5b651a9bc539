"""`prompt_tidy` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from otel_perfopt.decide.model_base import DeclaredModel, Text, one_as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType

Sections = Annotated[
    tuple[Text, ...], BeforeValidator(one_as_tuple, json_schema_input_type=Text | list[Text]), Field(max_length=100)
]


class PromptTidyParameters(OptimizationParameters):
    """What may go from instructions: paragraphs of at least `min_chars` said before, and the named sections."""

    min_chars: int = Field(default=24, ge=1, le=100_000)
    drop_sections: Sections = ()


class PromptTidy(DeclaredModel):
    """Say instructions once."""

    type: Literal["prompt_tidy"]
    parameters: PromptTidyParameters = Field(default=PromptTidyParameters(), alias="with")


KIND = OptimizationType(
    model=PromptTidy,
    read_only=False,
    shadow_free=True,
    risk="low: only what is said word for word again goes; named sections are the policy's own choice",
    does="removes repeated paragraphs and empty sections from instructions",
)
