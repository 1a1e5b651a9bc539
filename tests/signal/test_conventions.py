from __future__ import annotations

import ast
from pathlib import Path

import otel_perfopt
from otel_perfopt import conventions
from otel_perfopt.signal.dialect_table import KINDS_BY_OPERATION

try:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as registry
except ImportError:  # a later package keeps them elsewhere
    from opentelemetry.semconv.attributes import gen_ai_attributes as registry

PACKAGE = Path(otel_perfopt.__file__).parent
GENAI = "https://github.com/open-telemetry/semantic-conventions-genai"
# Newer than the registry in the installed package; each with where it stands. One that the package has is taken out.
NEWER = {
    "gen_ai.request.reasoning.level": GENAI,
    "gen_ai.usage.cache_write.input_tokens": GENAI,
}
EVENTS = {"gen_ai.evaluation.result": "https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/"}


def registered() -> set[str]:
    return {value for value in vars(registry).values() if isinstance(value, str) and value.startswith("gen_ai.")}


def written_in(*folders: str) -> dict[str, str]:
    """Names of the conventions in the source of what emits, with the file: whole strings, not parts of sentences."""
    files = [file for folder in folders for file in sorted((PACKAGE / folder).rglob("*.py"))]
    return {
        node.value: file.name
        for file in [*files, PACKAGE / "conventions.py"]
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("gen_ai.")
    }


def test_every_genai_name_that_is_emitted_is_in_the_registry():
    """A name is in the package's registry, or is listed here as newer; a misspelt one is in neither."""
    written = written_in("signal/emit", "signal/frameworks", "act", "measure")
    assert len(written) > 30
    unknown = {name: file for name, file in written.items() if name not in registered() | NEWER.keys() | EVENTS.keys()}
    allowed = {"gen_ai.event.content", "gen_ai.usage."}  # read from rows of others, never written
    assert unknown.keys() <= allowed, unknown


def test_names_listed_as_newer_are_used_and_still_newer():
    """What the registry has caught up with, or nobody uses, leaves the list."""
    ours = {value for value in vars(conventions).values() if isinstance(value, str)}
    assert NEWER.keys() | EVENTS.keys() <= ours
    assert not NEWER.keys() & registered()


def test_operations_are_those_of_the_registry():
    """Operation names are the conventions' own values, or newer ones."""
    known = {member.value for member in registry.GenAiOperationNameValues}
    ours = {value for name, value in vars(conventions).items() if name.startswith("OPERATION_")}
    newer = {"plan", "search_memory"}
    assert ours | KINDS_BY_OPERATION.keys() <= known | newer, (ours | KINDS_BY_OPERATION.keys()) - known
