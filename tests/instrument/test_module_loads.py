from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
import threading
import traceback

import pytest

from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.module_loads import MAX_LOADS, ModuleLoads, watch_loads
from otel_perfopt.signal.emit.spans import command


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder of modules on the path; give their texts."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()

    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        sys.modules.pop(name, None)


@pytest.fixture
def watched():
    """Every load of a millisecond is watched."""
    loads = ModuleLoads()
    undo = watch_loads(loads)
    yield loads
    undo()
    assert not faults


SLOW = "import time\ntime.sleep(0.02)\n"


def test_self_time_leaves_out_what_is_imported_inside(spans, modules, watched):
    """Planted times: a module of 20 ms that imports one of 20 ms took 40 ms, and 20 ms by itself; quick ones make no span."""
    modules(outer=SLOW + "import inner, quick\n", inner=SLOW, quick="x = 1")
    with command("/query"):
        importlib.import_module("outer")
        importlib.import_module("outer")
    # On a busy machine even the quick one may have taken its millisecond.
    shown = [span for span in spans.all if span.name != "load quick" or span.end_time - span.start_time < 1_000_000]
    assert [span.name for span in shown] == ["/query", "load outer", "load inner"]
    run, outer, inner = shown
    assert (outer.parent.span_id, inner.parent.span_id) == (run.context.span_id, outer.context.span_id)
    assert outer.start_time <= inner.start_time < inner.end_time <= outer.end_time
    assert run.start_time <= outer.start_time < outer.end_time <= run.end_time
    took = {span.name: (span.end_time - span.start_time) / 1e9 for span in (outer, inner)}
    for span, whole, inside in ((outer, 0.04, took["load inner"]), (inner, 0.02, 0.0)):
        assert took[span.name] >= whole
        # A busy machine makes everything longer, and the rest of it still the module's own.
        assert 0.02 <= span.attributes["perfopt.module.self_time"] <= took[span.name] - inside + 0.001
        assert span.attributes["perfopt.module.name"] == span.name.split()[1]


def test_errors_and_their_tracebacks_are_as_ever(spans, modules):
    """A missing module, one that raises, and a cycle of imports look the same with and without."""
    modules(
        raising=SLOW + "raise RuntimeError('no')\n",
        one=SLOW + "import two\n",
        two="import one\nassert one.time\n",
        warning="import warnings\nwarnings.warn('old', DeprecationWarning, stacklevel=2)\n",
    )

    def outcome(name):
        sys.modules.pop(name, None)
        try:
            importlib.import_module(name)
        except BaseException as error:
            return repr(error), [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        return None

    def by_statement():
        try:
            import no_such_module  # noqa: F401, PLC0415
        except ModuleNotFoundError as error:
            return [(frame.filename, frame.name) for frame in traceback.extract_tb(error.__traceback__)]

    undo = watch_loads(ModuleLoads())
    with_us = [outcome("raising"), by_statement(), outcome("one")]
    assert len(with_us[1]) == 1
    with pytest.warns(DeprecationWarning, match="old") as caught:
        import warning  # noqa: F401, PLC0415
    assert caught[0].filename == __file__
    undo()
    for name in ("raising", "one", "two"):
        sys.modules.pop(name, None)
    without = [outcome("raising"), by_statement(), outcome("one")]
    assert with_us[0][0] == without[0][0]
    assert {file for file in with_us[0][1] if "importlib" not in file} == {
        file for file in without[0][1] if "importlib" not in file
    }
    assert with_us[1:] == without[1:]


def test_threads_keep_their_own_time(spans, modules, watched):
    """Loads on several threads at once are each its own, none inside another's."""
    modules(**{f"part{number}": SLOW for number in range(5)})
    threads = [threading.Thread(target=importlib.import_module, args=(f"part{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(span.name for span in spans.all) == [f"load part{number}" for number in range(5)]
    assert all(span.parent is None for span in spans.all)


def test_what_is_kept_is_bounded_and_undoing_gives_back():
    """Past 2000 loads nothing more is kept and the rest is counted; afterwards the import system is its own again."""
    bootstrap = sys.modules["_frozen_importlib"]
    before = bootstrap._find_and_load
    clock = iter(range(0, 10**12, 2_000_000))
    loads = ModuleLoads(clock_ns=lambda: next(clock))
    undo = watch_loads(loads)
    assert bootstrap._find_and_load is not before
    for _ in range(MAX_LOADS + 5):
        loads.end(loads.begin("a"))
    assert loads.dropped >= 5
    undo()
    assert bootstrap._find_and_load is before


def test_a_program_shows_what_it_loads(tmp_path):
    """Switched on, what a program loads before its first span is kept until spans can be made, without our own loads."""
    code = """
        import sys, json
        import otel_perfopt
        assert otel_perfopt.instrument(module_loads=True, write_telemetry=True, home=sys.argv[1], lazy=True)
        import asyncio, xml.dom.minidom, sqlite3
        with otel_perfopt.command("/query"):
            import email.mime.multipart
        otel_perfopt.uninstrument()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=True, timeout=60)
    said = []
    for path in (tmp_path / "telemetry").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                said += [span["name"] for scope in resource["scopeSpans"] for span in scope["spans"]]
    assert "load asyncio" in said or "load xml.dom.minidom" in said
    assert "/query" in said
    assert not any("otel_perfopt" in name or "load opentelemetry" in name for name in said)
