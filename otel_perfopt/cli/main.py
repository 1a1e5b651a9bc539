"""The `perfopt` command: the process's arguments in, its exit status out; says which extra is missing."""

from __future__ import annotations

import sys
from io import TextIOWrapper

from otel_perfopt.errors import MissingExtraError, PerfoptError

# Which extra brings a package that a bare install lacks.
_EXTRA_OF_MODULE = {
    "openai": "demo",
    "httpx": "demo",
    "itsdangerous": "console",
    "starlette": "console",
    "uvicorn": "console",
}
_ANALYSIS_MODULES = frozenset(
    {
        "chdb",
        "click",
        "clickhouse_connect",
        "filelock",
        "jinja2",
        "joblib",
        "numpy",
        "orjson",
        "pydantic",
        "rfc8785",
        "rich",
        "ruptures",
        "statsmodels",
        "yaml",
    }
)


def main() -> int:
    """Run the command line and return its exit status (0 done, 1 failed, 2 misused or something missing)."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal or pipe of another encoding shows what it lacks as an escape, instead of ending the command.
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        _run()
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        return _fail(missing, 2)
    except PerfoptError as error:
        return _fail(error, 1)
    return 0


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Return the error that names the extra to install, or None when the module is nobody's extra."""
    module = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF_MODULE.get(module) or ("analysis" if module in _ANALYSIS_MODULES else None)
    return MissingExtraError(extra, module) if extra else None


def _run() -> None:
    from otel_perfopt.cli.group import cli

    cli.main(prog_name="perfopt")


def _fail(error: Exception, status: int) -> int:
    sys.stderr.write(f"perfopt: {error}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
