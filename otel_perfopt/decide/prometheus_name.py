"""An OpenTelemetry metric or attribute name in, the name Prometheus gives it when it comes over OTLP out."""

from __future__ import annotations

import re

COUNTER = "counter"
GAUGE = "gauge"
HISTOGRAM = "histogram"

_NOT_ALLOWED_IN_METRIC = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_ALLOWED_IN_LABEL = re.compile(r"[^a-zA-Z0-9]+")
_ANNOTATION = re.compile(r"\{[^}]*\}")
# UCUM units that are spelt out; any other unit is kept as it is written.
_UNITS = {
    "1": "",
    "%": "percent",
    "ns": "nanoseconds",
    "us": "microseconds",
    "ms": "milliseconds",
    "s": "seconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
}
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day"}


def metric_name(name: str, unit: str, kind: str) -> str:
    """Return the metric's name under Prometheus's default translation (underscores, suffixes of unit and kind).

    `kind` is `counter` (a monotonic sum), `gauge` or `histogram`. An exponential histogram has this
    name itself: it is one native histogram, without `_bucket`, `_sum` and `_count`.
    https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
    """
    tokens = [token for token in _NOT_ALLOWED_IN_METRIC.split(name) if token]
    tokens += [token for token in _unit_tokens(unit) if token not in tokens]
    if kind == COUNTER:
        tokens = [*(token for token in tokens if token != "total"), "total"]  # noqa: S105 - a suffix
    if kind == GAUGE and unit == "1":
        tokens = [*(token for token in tokens if token != "ratio"), "ratio"]  # noqa: S105 - a suffix
    joined = "_".join(tokens)
    return f"_{joined}" if joined[:1].isdigit() else joined


def label_name(attribute: str) -> str:
    """Return the label's name."""
    label = _NOT_ALLOWED_IN_LABEL.sub("_", attribute)
    return f"key_{label}" if label[:1].isdigit() else label


def _unit_tokens(unit: str) -> list[str]:
    main, _, per = _ANNOTATION.sub("", unit).partition("/")
    found = [_plain(_UNITS.get(main.strip(), main))]
    if per.strip():
        found.append(f"per_{_plain(_PER.get(per.strip(), per))}")
    return [token for token in found if token]


def _plain(unit: str) -> str:
    return _NOT_ALLOWED_IN_METRIC.sub("_", unit).strip("_")
