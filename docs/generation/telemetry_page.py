"""The reference of metrics and attributes: the table of names and the code that uses them in, one page out."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from docs.generation.markdown import code, page, sentence, table
from docs.generation.telemetry_words import ATTRIBUTES, METRICS
from otel_perfopt import conventions
from otel_perfopt.loop.controller_metrics import COUNTERS, GAUGES

_PACKAGE = Path(conventions.__file__).parent
_METRIC = "METRIC_"
_ATTRIBUTE = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)+")
_CONSTANT = re.compile(r"\b[A-Z][A-Z0-9_]{2,}\b")
# What the meter calls with a metric, and what that makes of it.
_KINDS = {
    "record": "histogram",
    "histogram": "histogram",
    "add": "sum",
    "total": "sum",
    "set_total": "sum",
    "also_count": "sum",
}
_AGENT = "agents"
_CONTROLLER = "the controller"
_FIRST = """Every metric and attribute that is written or read. Names come from OpenTelemetry's
[GenAI conventions](https://github.com/open-telemetry/semantic-conventions-genai) where these have one; what has none is
ours, under `perfopt.`. The table in code is `otel_perfopt.conventions`. Units are UCUM.

Histograms are exponential (base 2^(1/32), error at most 1.1 %) with exemplars that lead to the trace. A metric has at
most 500 series; what comes after is counted under `otel.metric.overflow`. In Prometheus a dot reads as an underscore
and the unit follows the name: `perfopt_command_duration_seconds`.
"""


def telemetry_page() -> str:
    """Return the page."""
    return page(
        "Metrics and attributes",
        _FIRST,
        "## Metrics of agents\n\nWritten by the live meter (`otel_perfopt.measure.meter`), from spans of any instrumentation.",
        table(("metric", "unit", "kind", "meaning"), _metrics(_AGENT)),
        "## Metrics of the controller\n\nWritten by `perfopt loop` and `perfopt serve` once an OTLP endpoint is set. Codes are "
        "numbers, so that a change of state is not a new series.",
        table(("metric", "unit", "kind", "meaning"), _metrics(_CONTROLLER)),
        *_codes(),
        "## Attributes of our own",
        table(("attribute", "meaning", "used in"), _attributes(ours=True)),
        "A policy's part in a run stands on the command's span, under `perfopt.policy.NAME.`:",
        table(("attribute", "meaning", "used in"), _policy_fields()),
        "## Attributes of the conventions",
        table(("attribute", "meaning", "used in"), _attributes(ours=False)),
        "## Words\n\n" + _words(),
    )


@dataclass(frozen=True, slots=True)
class Name:
    """One constant of `conventions.py`: how code calls it, what it stands for, and what is said beside it."""

    constant: str
    value: object
    comment: str


@cache
def names() -> tuple[Name, ...]:
    """Return every constant, in order."""
    source = Path(conventions.__file__).read_text(encoding="utf-8")
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.line.lstrip().startswith("#")
    }
    return tuple(
        Name(node.target.id, getattr(conventions, node.target.id), comments.get(node.lineno, ""))
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    )


def metric_names() -> tuple[Name, ...]:
    """Return the constants that are metrics: a name and a unit."""
    return tuple(name for name in names() if name.constant.startswith(_METRIC) and isinstance(name.value, tuple))


def attribute_names() -> tuple[Name, ...]:
    """Return the constants that are attributes or events."""
    return tuple(
        name
        for name in names()
        if isinstance(name.value, str)
        and _ATTRIBUTE.fullmatch(name.value)
        and not name.constant.startswith(("OPERATION_", "MCP_TOOLS", "POLICY_"))
    )


def policy_fields() -> tuple[Name, ...]:
    """Return the constants that are fields under a policy's own attribute."""
    return tuple(name for name in names() if name.constant.startswith("POLICY_") and name.constant != "POLICY_PREFIX")


def said_of(name: Name, words: Mapping[str, str], key: str) -> str:
    """Return what is said of a name: our sentence, else the comment beside it."""
    return (
        sentence(words.get(key) or re.sub(r"\bnoqa:.*?- ?", "", name.comment)) if words.get(key) or name.comment else ""
    )


def _metrics(emitter: str) -> Iterator[tuple[str, str, str, str]]:
    kinds = _meter_kinds() | dict.fromkeys(COUNTERS, "sum") | dict.fromkeys(GAUGES, "gauge")
    controllers = {*COUNTERS, *GAUGES}
    for name in metric_names():
        assert isinstance(name.value, tuple)
        if (name.value in controllers) != (emitter == _CONTROLLER):
            continue
        metric, unit = name.value
        yield code(metric), code(unit or "1"), kinds.get(name.value, "histogram"), said_of(name, METRICS, metric)


def _meter_kinds() -> dict[object, str]:
    found = {}
    for file in sorted((_PACKAGE / "measure").glob("meter*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                first, kind = node.args[0], _KINDS.get(node.func.attr)
                if kind and isinstance(first, ast.Attribute) and first.attr.startswith(_METRIC):
                    found[getattr(conventions, first.attr)] = kind
    return found


def _codes() -> Iterator[str]:
    for title, codes in (
        ("States", conventions.STATE_CODES),
        ("Verdicts", conventions.VERDICT_CODES),
        ("Guardrails", conventions.GUARDRAIL_CODES),
        ("Risks", conventions.RISK_CODES),
    ):
        yield f"**{title}:** " + ", ".join(f"{number} {word}" for word, number in codes.items()) + "."


def _attributes(*, ours: bool) -> Iterator[tuple[str, str, str]]:
    seen = set()
    for name in attribute_names():
        value = str(name.value)
        if value.startswith("perfopt.") == ours and value not in seen:
            seen.add(value)
            yield code(value), said_of(name, ATTRIBUTES, value), _used_in(name.constant)


def _policy_fields() -> Iterator[tuple[str, str, str]]:
    for name in policy_fields():
        yield code(name.value), said_of(name, ATTRIBUTES, f"policy.{name.value}"), _used_in(name.constant)


def _words() -> str:
    operations = ", ".join(code(name.value) for name in names() if name.constant.startswith("OPERATION_"))
    kinds = ", ".join(
        code(name.value) for name in names() if name.constant.startswith("STEP_") and "." not in str(name.value)
    )
    return f"`gen_ai.operation.name` is one of {operations}.\n\n`perfopt.step.kind` is one of {kinds}."


def _used_in(constant: str) -> str:
    return ", ".join(sorted(_uses().get(constant, ()))) or "reserved"


@cache
def _uses() -> Mapping[str, set[str]]:
    known = {name.constant for name in names()}
    found: dict[str, set[str]] = defaultdict(set)
    for file in _PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        room = file.relative_to(_PACKAGE).parts[0].removesuffix(".py")
        if room != "conventions" and "conventions" in text:
            for constant in known & set(_CONSTANT.findall(text)):
                found[constant].add(room)
    return found
