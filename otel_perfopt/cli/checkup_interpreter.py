"""An agent's interpreter in, what it has installed and what of that works, doubles or fails out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

from otel_perfopt.cli.checkup import Line, fine, note, warning
from otel_perfopt.signal.families import OFFICIAL, Instrumentor, doubled, read_probe, required_name, side_by_side

_PROBE_LIMIT_S: Final = 120
_PYTHONS: Final = ("python", "pypy")
_DISABLED: Final = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
_PACKAGE: Final = "otel-perfopt"
_EXTRAS: Final = ("analysis", "demo")
_RAN_BY: Final = {"uv", "poetry", "pipenv", "hatch", "pdm"}


def interpreter_of(program: Sequence[str]) -> tuple[Path, str]:
    """Return the interpreter that would run a program, and a doubt about it (empty for none)."""
    here = Path(sys.executable)
    if not program:
        return here, ""
    found = shutil.which(program[0])
    if found is None:
        return here, f"there is no program {program[0]!r}; this interpreter was looked at instead"
    if Path(found).name.startswith(_PYTHONS):
        return Path(found), ""
    named = _shebang(Path(found))
    if named is not None:
        return named, ""
    why = "runs programs in environments of its own" if Path(found).name in _RAN_BY else "does not say"
    return here, f"{program[0]} {why} which interpreter; this one was looked at instead"


def _shebang(path: Path) -> Path | None:
    try:
        first = path.open("rb").readline(512)
    except OSError:
        return None
    words = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = [found for found in [shutil.which(words[-1])] if found]
    interpreter = Path(words[0]) if words else None
    return interpreter if interpreter is not None and interpreter.name.startswith(_PYTHONS) else None


def look_at_interpreter(program: Sequence[str], environment: Mapping[str, str]) -> Iterator[Line]:
    """Yield the lines about the interpreter that runs the program."""
    python, doubt = interpreter_of(program)
    if doubt:
        yield warning(
            "interpreter", doubt, "give the interpreter itself: perfopt doctor -- /path/to/python my_agent.py"
        )
    said = _probed(python)
    if isinstance(said, Line):
        yield said
        return
    instrumentors, facts = said
    yield from _versions(facts)
    yield from _families(instrumentors, facts, environment)


def _probed(python: Path) -> tuple[list[Instrumentor], Mapping[str, Any]] | Line:
    command = [str(python), "-W", "ignore", "-m", "otel_perfopt.signal.families"]
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that the user named
            command,
            env={**os.environ, "OTEL_SDK_DISABLED": "true", "PERFOPT_DISABLED": "1"},
            capture_output=True,
            text=True,
            timeout=_PROBE_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return warning("interpreter", f"{python} cannot be asked: {error}", "check that it starts by itself")
    if "No module named" in done.stderr and "otel_perfopt" in done.stderr:
        fact = f"{python} has no otel-perfopt, so nothing of the agent would be seen"
        return warning("interpreter", fact, f"{python} -m pip install otel-perfopt")
    try:
        return read_probe(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        return warning("interpreter", f"{python} failed when asked: {last[:300]}", "check that it starts by itself")


def _versions(facts: Mapping[str, Any]) -> Iterator[Line]:
    listed = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield fine("interpreter", f"Python {facts['python']} at {facts['executable']}")
    yield fine("packages", listed)
    if tuple(int(part) for part in facts["python"].split(".")[:2]) < (3, 10):
        yield warning("interpreter", f"Python {facts['python']} is not supported", "use Python 3.10 or later")
    if facts["is_entry_point"]:
        yield fine("instrumentation", "opentelemetry-instrument and perfopt run switch it on; no code is needed")
    else:
        fact = "opentelemetry-instrument does not know otel-perfopt here: it is on the path, but not installed"
        yield warning("instrumentation", fact, f"{facts['executable']} -m pip install otel-perfopt")
    if not facts["configurators"]:
        fact = "opentelemetry-instrument sets up no SDK here, so it exports nothing; perfopt run needs none"
        yield note("instrumentation", fact, f"{facts['executable']} -m pip install opentelemetry-distro")


def _families(
    instrumentors: Sequence[Instrumentor], facts: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[Line]:
    disabled = {name.strip() for name in environment.get(_DISABLED, "").split(",") if name.strip()}
    on = [one for one in instrumentors if one.library not in disabled and "*" not in disabled]
    if disabled & {"perfopt", "*"}:
        fact = f"{_DISABLED} switches otel-perfopt off under opentelemetry-instrument"
        yield warning("instrumentation", fact, f"take perfopt out of {_DISABLED}")
    if not instrumentors:
        yield fine("families", "no other GenAI instrumentation is installed; model and tool calls are seen by ours")
    for one in on:
        yield from _one(one)
    for library, found in doubled(on).items():
        yield _doubled(library, found)
    for framework, client in side_by_side(on):
        fact = f"{framework.package} and {client.package} both make a span for one model call, side by side"
        remedy = f"reports count it once; for other tools: {_DISABLED}={client.library}"
        yield note("families", fact, remedy)
    yield from _own_spans(on, facts["own_spans"])


def _one(one: Instrumentor) -> Iterator[Line]:
    named = f"{one.package} {one.version}"
    if not one.failure:
        yield fine("families", f"{one.family} for {one.library} ({named})")
    elif one.stops_others:
        fact = f"{named} fails, and opentelemetry-instrument gives up there: {one.failure[:200]}"
        yield warning("families", fact, f"{_DISABLED}={one.library}, or pip uninstall {one.package}")
    else:
        fact = f"{named} does nothing: {one.failure[:200]}"
        yield note("families", fact, f"pip uninstall {one.package}, or install what it names")


def _doubled(library: str, found: Sequence[Instrumentor]) -> Line:
    kept = next((one for one in found if one.family == OFFICIAL), found[0])
    named = ", ".join(f"{one.package} ({one.family})" for one in found)
    others = " ".join(sorted({one.package for one in found} - {kept.package}))
    fact = f"{library} is instrumented {len(found)} times, so every call makes {len(found)} spans: {named}"
    # The switch goes by the entry point's name, which the families share: it would switch off all.
    remedy = f"keep one: pip uninstall {others} ({_DISABLED}={library} would switch off all of them)"
    return warning("families", fact, remedy)


def _own_spans(on: Sequence[Instrumentor], own: Mapping[str, str]) -> Iterator[Line]:
    for client, switch in own.items():
        beside = [one for one in on if one.library == client and not one.failure]
        if beside and switch:
            fact = f"the {client} client writes spans itself, and {beside[0].package} writes them again"
            yield warning("families", fact, f"{switch}, or pip uninstall {beside[0].package}")
        elif switch:
            yield fine("families", f"the {client} client writes spans itself ({switch} switches them off)")


def look_at_extras() -> Iterator[Line]:
    """Yield which of the extras that users install this interpreter has, by the packages they bring."""
    try:
        wanted = requires(_PACKAGE) or []
    except PackageNotFoundError:
        yield warning("extras", f"{_PACKAGE} is on the path, but not installed", f"pip install {_PACKAGE}")
        return
    for extra in _EXTRAS:
        marked = [text for text in wanted if text.replace("'", '"').endswith(f'extra == "{extra}"')]
        missing = [name for name in map(required_name, marked) if not _is_installed(name)]
        if missing:
            remedy = f"pip install '{_PACKAGE}[{extra}]'"
            yield note("extras", f"[{extra}] is not complete (missing: {', '.join(missing)})", remedy)
        elif marked:
            yield fine("extras", f"[{extra}] is complete")


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
