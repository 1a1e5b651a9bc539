"""What one run says of a metric: a finished run in, its value (or None) out."""

from __future__ import annotations

import math
from dataclasses import replace

from otel_perfopt.decide.allocation import TREATMENT
from otel_perfopt.execution.model import Assignment, Execution
from otel_perfopt.verify.metric_kind import metric_kind
from otel_perfopt.verify.units import units_of

_PROBE = "probe"


def run_value(metric: str, execution: Execution) -> float | None:
    """Return the value that a unit of this run alone would have."""
    probed = replace(execution, arms={_PROBE: Assignment(TREATMENT, _PROBE, _PROBE, 0.5)})
    read = metric_kind(metric).reads or metric
    for unit in units_of([probed]):
        value = unit.values.get(read)
        return value if value is not None and math.isfinite(value) else None
    return None
