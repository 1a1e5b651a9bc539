"""Which families of GenAI instrumentations an interpreter has installed: its packages' metadata in, what doubles out.

Standard library and OpenTelemetry only; nothing is imported for the question but by `probe`, which is
for a process of its own: `python -m otel_perfopt.signal.families`.
"""

from __future__ import annotations

import json
import platform
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, Final

OFFICIAL: Final = "official GenAI"
OPENINFERENCE: Final = "OpenInference"
OPENLLMETRY: Final = "OpenLLMetry"
OURS: Final = "otel-perfopt"
# What a family's packages require tells them apart: names of packages and modules overlap.
FAMILY_BY_REQUIREMENT: Final = {
    "opentelemetry-util-genai": OFFICIAL,
    "openinference-instrumentation": OPENINFERENCE,
    "opentelemetry-semantic-conventions-ai": OPENLLMETRY,
}
# Clients that write spans of their own: package -> (file that shows it, what switches them off; "" for nothing).
OWN_SPANS: Final = {
    "anthropic": ("anthropic/_tracing.py", "ANTHROPIC_OPEN_TELEMETRY=false"),
    "mcp": ("mcp/shared/_otel.py", ""),
}
# Frameworks whose spans and the client's come side by side, not nested, in one family (seen in tests/dialect).
SIDE_BY_SIDE: Final = {(OPENINFERENCE, "langchain"): ("openai", "anthropic")}
GROUP: Final = "opentelemetry_instrumentor"
_SHOWN: Final = (
    "otel-perfopt", "opentelemetry-api", "opentelemetry-sdk", "opentelemetry-instrumentation", "opentelemetry-distro",
    "opentelemetry-exporter-otlp", "opentelemetry-exporter-otlp-json-file",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instrumentor:
    """One entry point of `opentelemetry-instrument`: which family's, for which library, from which package.

    `failure` says why it could not be switched on, empty where it was not tried or was; `stops_others`
    that `opentelemetry-instrument` gives up at it, and leaves out what comes later.
    """

    family: str
    library: str
    package: str
    version: str
    failure: str = ""
    stops_others: bool = False


def installed(found: Iterable[Distribution] | None = None) -> list[Instrumentor]:
    """Return the GenAI instrumentors there are, in the order in which they are loaded."""
    instrumentors = []
    for distribution in distributions() if found is None else found:
        family = family_of(distribution)
        if family:
            name, version = distribution.metadata["Name"], distribution.version
            instrumentors += [Instrumentor(family, entry.name, name, version) for entry in _entry_points(distribution)]
    return instrumentors


def family_of(distribution: Distribution) -> str:
    """Return the family a package belongs to by what it requires, or an empty string."""
    required = {required_name(text) for text in distribution.requires or ()}
    return next((family for package, family in FAMILY_BY_REQUIREMENT.items() if package in required), "")


def required_name(text: str) -> str:
    """Return the package that a requirement is about, in lower case."""
    name = text
    for mark in " <>=!~;[(":
        name = name.partition(mark)[0]
    return name.strip().lower()


def _entry_points(distribution: Distribution) -> list[EntryPoint]:
    return [entry for entry in distribution.entry_points if entry.group == GROUP]


def doubled(instrumentors: Iterable[Instrumentor]) -> dict[str, list[Instrumentor]]:
    """Return the libraries that more than one package instruments, each with those packages."""
    by_library: dict[str, list[Instrumentor]] = defaultdict(list)
    for instrumentor in instrumentors:
        if not instrumentor.failure:
            by_library[instrumentor.library].append(instrumentor)
    return {library: found for library, found in by_library.items() if len({one.package for one in found}) > 1}


def side_by_side(instrumentors: Iterable[Instrumentor]) -> list[tuple[Instrumentor, Instrumentor]]:
    """Return pairs of a framework's and a client's instrumentor whose spans of one call lie side by side."""
    known = {(one.family, one.library): one for one in instrumentors if not one.failure}
    return [
        (known[framework], known[framework[0], client])
        for framework, clients in SIDE_BY_SIDE.items()
        for client in clients
        if framework in known and (framework[0], client) in known
    ]


def own_spans(found: Iterable[Distribution] | None = None) -> dict[str, str]:
    """Return the installed clients that write spans of their own, with what switches those off."""
    names = {}
    for distribution in distributions() if found is None else found:
        name = str(distribution.metadata["Name"] or "").lower()
        if name in OWN_SPANS:
            file, switch = OWN_SPANS[name]
            if any(str(path).replace("\\", "/") == file for path in distribution.files or ()):
                names[name] = switch
    return names


def probe() -> dict[str, Any]:
    """Switch every GenAI instrumentation on in this process and return what was found, as JSON takes it.

    Only for a process that ends right after: nothing is switched off again.
    """
    found = list(distributions())
    versions = {str(one.metadata["Name"]).lower(): one.version for one in found}
    tried = [_tried(entry, family_of(one), one) for one in found if family_of(one) for entry in _entry_points(one)]
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": {name: versions[name] for name in _SHOWN if name in versions},
        "instrumentors": [asdict(one) for one in tried],
        "own_spans": own_spans(found),
        "is_entry_point": any(entry.name == "perfopt" for one in found for entry in _entry_points(one)),
        "configurators": sorted(
            entry.name for one in found for entry in one.entry_points if entry.group == "opentelemetry_configurator"
        ),
    }


def _tried(entry: EntryPoint, family: str, distribution: Distribution) -> Instrumentor:
    failure, stops = "", False
    try:
        instrumentor = entry.load()()
        conflict = instrumentor._check_dependency_conflicts()  # noqa: SLF001 - what its own `instrument` asks first
        failure = str(conflict or "")
        if not failure:
            instrumentor.instrument(skip_dep_check=True)
    except ImportError as error:
        failure = f"{type(error).__name__}: {error}"
    except Exception as error:
        failure, stops = f"{type(error).__name__}: {error}", True
    return Instrumentor(family, entry.name, distribution.metadata["Name"], distribution.version, failure, stops)


def read_probe(text: str) -> tuple[list[Instrumentor], Mapping[str, Any]]:
    """Return the instrumentors and the rest of what a probe printed.

    Raises:
        ValueError: it is not what a probe prints.
    """
    try:
        said = json.loads(text)
        return [Instrumentor(**one) for one in said.pop("instrumentors")], said
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a probe's answer: {error}") from error


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(probe()) + "\n")
