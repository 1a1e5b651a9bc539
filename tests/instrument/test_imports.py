from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {
    "numpy", "pandas", "scipy", "statsmodels", "ruptures", "pydantic", "yaml", "chdb", "clickhouse_connect",
    "rich", "click", "jinja2", "orjson", "rfc8785", "filelock", "openai", "httpx", "grpc", "requests",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """Top-level modules and our own that a fresh interpreter has loaded after `code`, beyond those it starts with."""
    program = (
        f"import sys, json; before = set(sys.modules)\n{code}\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    )
    out = subprocess.run([sys.executable, "-S", "-c", _with_path(program)], capture_output=True, text=True, check=True)
    return set(json.loads(out.stdout))


def _with_path(program: str) -> str:
    # Without `site`, so that what .pth files load is not counted as ours.
    return f"import sys; sys.path[:] = {sys.path!r}\n{program}"


def outside(modules: set[str]) -> set[str]:
    """Those that are neither the standard library's nor ours."""
    tops = {name.partition(".")[0] for name in modules}
    return {top for top in tops if top not in sys.stdlib_module_names and top != "otel_perfopt"}


def test_importing_the_package_loads_nothing_else():
    """`import otel_perfopt` loads itself and the standard library, nothing more."""
    assert outside(loaded_by("import otel_perfopt")) == set()


def test_marking_functions_needs_the_api_only():
    """Commands, thinking, tools and feedback need the OpenTelemetry API, and neither the SDK nor wrapt."""
    modules = loaded_by("from otel_perfopt import command, thinking, tool, feedback")
    assert outside(modules) <= {"opentelemetry", "typing_extensions", "_cython_3_0_11"}
    assert not any(name.startswith("opentelemetry.sdk") for name in modules)


def test_instrumenting_loads_nothing_heavy():
    """With everything on (SDK, exporter, runtime), none of the controller's libraries is there."""
    modules = loaded_by(
        "import otel_perfopt, tempfile\n"
        "assert otel_perfopt.instrument(home=tempfile.mkdtemp(), write_telemetry=True)\n"
        "otel_perfopt.uninstrument()"
    )
    assert {name.partition(".")[0] for name in modules} & HEAVY == set()
    assert "otel_perfopt.signal.emit.telemetry_file" in modules
