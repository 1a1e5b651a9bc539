"""Sessions over the Python versions that are supported: `nox -s tests-3.12`."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["tests"]


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the tests against an installed package."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def frameworks(session: nox.Session) -> None:
    """Run the tests that need real agent frameworks and clients."""
    session.install("-e", ".[frameworks]")
    session.run("pytest", "tests/frameworks", *session.posargs)


@nox.session
def bare(session: nox.Session) -> None:
    """Hold that a bare install imports, and says which extra is missing."""
    session.install(".")
    session.run("python", "-c", "import otel_perfopt; otel_perfopt.instrument()")
    session.run("perfopt", "status", success_codes=[2])


@nox.session
def families(session: nox.Session) -> None:
    """Hold that every family of GenAI instrumentations is understood: real packages, recorded replies, no network.

    Families share names of modules and entry points, so each gets an environment of its own.
    """
    session.install("-e", ".[test]")
    prepared = Path(session.cache_dir, "families").resolve()
    for requirements in sorted(Path("tests/dialect/requirements").glob("*.txt")):
        if requirements.stem == "clients":
            continue
        python = prepared / requirements.stem / "bin" / "python"
        if not python.exists():
            session.run("python", "-m", "venv", str(python.parent.parent))
        session.run(str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements), external=True)
    session.run("pytest", "tests/dialect", *session.posargs, env={"PERFOPT_FAMILIES": str(prepared)})
