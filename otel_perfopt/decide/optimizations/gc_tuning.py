"""`gc_tuning` in a policy: its parameters in, a checked model and what is known of the type out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from otel_perfopt.decide.model_base import DeclaredModel
from otel_perfopt.decide.optimizations.kind import OptimizationParameters, OptimizationType
from otel_perfopt.decide.quantity import Duration


class GcTuningParameters(OptimizationParameters):
    """How Python's garbage collector works.

    It looks at young objects after `threshold` more of them (0: as it is), not at those there since the
    start (`freeze`), and between commands (`collect_idle`, after `idle_s` without any); `trim` then gives
    freed memory back to the system.
    """

    threshold: int = Field(default=10_000, ge=0, le=10_000_000)
    freeze: bool = True
    collect_idle: bool = True
    idle_s: Duration = Field(default=1.0, alias="idle")
    trim: bool = True


class GcTuning(DeclaredModel):
    """Collect garbage less often during commands and more between them."""

    type: Literal["gc_tuning"]
    parameters: GcTuningParameters = Field(default=GcTuningParameters(), alias="with")


KIND = OptimizationType(
    model=GcTuning,
    read_only=False,
    shadow_free=True,
    process_wide=True,
    risk="low: garbage is kept a little longer during a command; watch memory",
    does="collects garbage between commands instead of during them",
)
