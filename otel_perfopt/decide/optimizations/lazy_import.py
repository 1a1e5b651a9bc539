"""`lazy_import` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from otel_perfopt.decide.model_base import MOST_ITEMS, DeclaredModel, Globs, one_as_tuple
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration

ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", max_length=200)]
ModuleNames = Annotated[
    tuple[ModuleName, ...],
    BeforeValidator(one_as_tuple, json_schema_input_type=str | list[str]),
    Field(max_length=MOST_ITEMS),
]


class LazyImportParameters(OptimizationParameters):
    """Which `modules` load when first used (patterns of whole names), and which never do (`exclude`).

    `prefetch` are loaded in the background, in this order, `prefetch_after_s` after the start.
    """

    modules: Globs = ()
    exclude: Globs = ()
    prefetch: ModuleNames = ()
    prefetch_after_s: Duration = Field(default=1.0, alias="prefetchAfter")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.modules or self.prefetch):
            raise ValueError("names nothing; give modules, or prefetch")
        return self


class LazyImport(DeclaredModel):
    """Load modules when they are first used."""

    type: Literal["lazy_import"]
    parameters: LazyImportParameters = Field(alias="with")


KIND = OptimizationType(
    model=LazyImport,
    read_only=False,
    shadow_free=True,
    process_wide=True,
    risk="medium: an error in a module shows at its first use instead of at its import",
    does="loads the named modules when they are first used, or in the background",
)
