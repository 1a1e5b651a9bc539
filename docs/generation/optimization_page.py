"""The optimization catalogue: the types a policy may name and where each stands in, one page out."""

from __future__ import annotations

import ast
import typing
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import otel_perfopt.analyse
from docs.generation.fields import described_in_yaml, fields_of
from docs.generation.markdown import code, page, prose, sentence, table
from otel_perfopt.act.parameters.table import OPTIMIZATIONS, Seam
from otel_perfopt.analyse.finding_kinds import FINDING_KINDS
from otel_perfopt.analyse.opportunity import RULES
from otel_perfopt.analyse.remedy_risk import remedy_risk
from otel_perfopt.decide.optimization import OPTIMIZATION_TYPES
from otel_perfopt.decide.optimizations.kind import OptimizationType
from otel_perfopt.decide.policy_file import policy_schema

_FIRST = """What a policy may do, under `spec.optimize`: `type` names one of these, `with` sets its parameters. Every one is
middleware around a call: it takes the call and the next handler, and any fault inside it falls back to the plain call.
Policies in force decide which a call passes, in the order of this page.

*Reads only* means that it touches no tool but those declared `read`. *Shadow is free* means that watching it in shadow
changes nothing for the agent, so that shadow needs no approval.
"""
# Said in one function with what does suggest it, but not suggested by it.
_NOT_SUGGESTED = frozenset({("warm_up", "seasonal_trough")})
_SEAMS = {
    Seam.TOOL: "around tool calls",
    Seam.INFERENCE: "around calls of a model",
    Seam.PROCESS: "beside a whole process",
}


def optimization_page() -> str:
    """Return the page."""
    proposers = proposing_findings()
    order = [name for name in OPTIMIZATIONS if name in OPTIMIZATION_TYPES]
    order += [name for name in OPTIMIZATION_TYPES if name not in order]
    overview = table(
        ("type", "does", "stands", "reads only", "shadow is free", "risk"),
        (_row(name, OPTIMIZATION_TYPES[name]) for name in order),
    )
    return page("Optimizations", _FIRST, overview, *(part for name in order for part in _section(name, proposers)))


def proposing_findings() -> Mapping[str, tuple[str, ...]]:
    """Return by type which kinds of findings suggest it, as the analysis' code has it."""
    found: dict[str, set[str]] = defaultdict(set)
    for rule in (make() for make in RULES):
        found[rule.optimization].add("upper_bound" if rule.upper_bound else "opportunity")
    for file in sorted(Path(otel_perfopt.analyse.__file__).parent.glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        kinds = _kinds_in(tree)
        for scope in _functions(tree):
            for optimization in _suggested(scope):
                near = _kinds_in(scope) & kinds
                found[optimization] |= near or (kinds if len(kinds) <= 3 else set())
    return {
        name: tuple(sorted(kind for kind in kinds if (name, kind) not in _NOT_SUGGESTED))
        for name, kinds in found.items()
    }


def _functions(tree: ast.AST) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _suggested(scope: ast.AST) -> Iterator[str]:
    for node in ast.walk(scope):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "Suggestion"
            and node.args
        ):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _kinds_in(scope: ast.AST) -> set[str]:
    texts = {node.value for node in ast.walk(scope) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {kind for kind in texts if kind in FINDING_KINDS}


def _stands(name: str) -> str:
    entry = OPTIMIZATIONS.get(name)
    if entry is None:
        return "in process start-up"
    return f"{_SEAMS[entry.seam]}{f', and tool calls before {entry.also_before}' if entry.also_before else ''}"


def _row(name: str, kind: OptimizationType) -> tuple[str, ...]:
    stands = _stands(name)
    yes = {True: "yes", False: "no"}
    return (
        f"[{name}](#{name})",
        kind.does,
        stands,
        yes[kind.read_only],
        yes[kind.shadow_free],
        kind.risk.partition(":")[0],
    )


def _section(name: str, proposers: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    kind = OPTIMIZATION_TYPES[name]
    kinds = proposers.get(name, ())
    proposed = (
        ", ".join(f"[{found}](detectors.md#{found})" for found in kinds) or "nothing by itself: a person writes it"
    )
    facts = [
        f"**Does:** {sentence(kind.does)}",
        f"**Stands:** {_stands(name)}.",
        f"**Risk:** {sentence(kind.risk)} {' '.join(remedy_risk(name))}",
        f"**Proposed by:** {proposed}.",
        f"**Code:** {code(f'otel_perfopt.act.{name}')}, {code(f'otel_perfopt.decide.optimizations.{name}')}",
    ]
    yield f"## {name}\n\n" + "\n".join(f"- {fact}" for fact in facts)
    yield from _parameters(kind)


def _parameters(kind: OptimizationType) -> Iterator[str]:
    definitions: Mapping[str, Any] = policy_schema()["$defs"]
    model = kind.model.model_fields["parameters"].annotation if "parameters" in kind.model.model_fields else None
    if not isinstance(model, type) or model.__name__ not in definitions:
        yield "It has no parameters."
        return
    yield described_in_yaml(model, prose(model))
    yield _fields_table(model, definitions)
    for inner in dict.fromkeys(_models_in(model)):
        yield f"### {inner.__name__}\n\n{described_in_yaml(inner, prose(inner))}"
        yield _fields_table(inner, definitions)


def _fields_table(model: type[BaseModel], definitions: Mapping[str, Any]) -> str:
    rows = ((code(one.name), one.values, one.default or "must be given") for one in fields_of(model, definitions))
    return table(("parameter", "values", "default"), rows)


def _models_in(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the models that a model's fields hold, at any depth."""
    for info in model.model_fields.values():
        for inner in _models_of(info.annotation):
            yield inner
            yield from _models_in(inner)


def _models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models_of(inner)
