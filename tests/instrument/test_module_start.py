"""What a process's start loads for later: planted packages with known times, and who really needs them."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest

from otel_perfopt.act.import_watch import ImportWatch, WatchedModule
from otel_perfopt.bootstrap.environment import run_environment

SLOW = "import time\ntime.sleep({seconds})\nVALUE = 1\n"
MODULES = {
    # Nobody uses it, and nobody else needs what it loads.
    "unused": SLOW.format(seconds=0.06) + "import unused_inside\ndef f(): return unused_inside.VALUE\n",
    "unused_inside": SLOW.format(seconds=0.04),
    # It stands on something that a module needs which is loaded anyway.
    "stands_on_shared": SLOW.format(seconds=0.05) + "from shared import VALUE as V\n",
    "shared": SLOW.format(seconds=0.08),
    "needed": "import time\nfrom shared import VALUE, thing\ntime.sleep(0.02)\nclass Needed(thing): pass\n",
    # Used while the program starts, by the program.
    "used_at_once": SLOW.format(seconds=0.03),
    # Used while another loads, which could wait itself.
    "used_by_unused": SLOW.format(seconds=0.03),
    "user": "import used_by_unused\nimport time\ntime.sleep(0.02)\nX = used_by_unused.VALUE\ndef f(): return used_by_unused\n",
    # An import in `try` cannot wait.
    "tried": SLOW.format(seconds=0.03),
    "later": SLOW.format(seconds=0.03),
}
PROGRAM = """
    import time
    import unused
    import used_by_unused
    import stands_on_shared
    import needed
    import used_at_once
    import user
    import later
    try:
        import tried
    except ImportError:
        tried = None
    import otel_perfopt

    START = used_at_once.VALUE, needed.Needed

    def uses():
        return unused, stands_on_shared, needed.Needed, used_at_once, user, tried, used_by_unused

    with otel_perfopt.command("/first"):
        pass
    with otel_perfopt.command("/second"):
        time.sleep(0.02)
        assert later.VALUE == 1
        assert later.VALUE == 1
        assert type(later) is type(time)

    def more():
        return later
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The spans of a program under `perfopt run` with its imports measured, by name."""
    folder = tmp_path_factory.mktemp("agent")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "shared.py").write_text(MODULES["shared"] + "class thing: pass\n")
    (folder / "agent.py").write_text(textwrap.dedent(PROGRAM))
    env = {**run_environment({"PATH": ""}, folder / "home"), "PERFOPT_MODULE_LOADS": "1"}
    subprocess.run([sys.executable, "agent.py"], cwd=folder, env=env, check=True, timeout=60)
    return spans_of(folder / "home")


def spans_of(home):
    found = {}
    for path in sorted((home / "telemetry").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                    span["attributes"] = {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
                    found[span["name"]] = span
    return found


def seconds(span):
    return (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9


def spared(told, name):
    return told[f"load {name}"]["attributes"].get("perfopt.module.spared_time")


def test_a_start_is_one_run_of_its_own(told):
    """All that is loaded before the first command hangs under one span, which ends as that command begins."""
    start = told["load __main__"]
    assert not start.get("parentSpanId")
    for name in ("unused", "needed", "tried", "later"):
        load = told[f"load {name}"]
        assert (load["traceId"], load["parentSpanId"]) == (start["traceId"], start["spanId"])
        assert load["attributes"]["perfopt.module.importer"] == "__main__" or name == "tried"
    assert told["load unused_inside"]["attributes"]["perfopt.module.importer"] == "unused"
    assert told["/first"]["traceId"] != start["traceId"]
    between = int(told["/first"]["startTimeUnixNano"]) - int(start["endTimeUnixNano"])
    assert abs(between) < 10**9
    assert seconds(start) >= sum(seconds(told[f"load {name}"]) for name in ("unused", "needed", "later"))


def test_what_a_start_would_save_is_what_nobody_else_needs(told):
    """The planted times: a module with all it loads, except what others stand on; nothing where it is used at once."""
    assert spared(told, "unused") == pytest.approx(seconds(told["load unused"]), rel=0.01)
    assert spared(told, "unused") >= 0.1
    assert 0.05 <= spared(told, "stands_on_shared") <= seconds(told["load stands_on_shared"]) - 0.08
    assert spared(told, "later") >= 0.03
    for name in ("shared", "needed", "used_at_once", "tried", "unused_inside"):
        assert spared(told, name) is None


def test_a_use_by_what_could_wait_itself_is_none(told):
    """Two modules of which one uses the other while it loads can both be put off."""
    assert spared(told, "user") >= 0.02
    assert spared(told, "used_by_unused") >= 0.03


def test_the_first_use_is_told_where_it_is(told):
    """Once, inside the command that used it, with the start's trace and how long after the start that was."""
    (use,) = [span for name, span in told.items() if name.startswith("use ")]
    assert use["name"] == "use later"
    assert use["parentSpanId"] == told["/second"]["spanId"]
    assert use["attributes"]["perfopt.module.start"] == told["load __main__"]["traceId"]
    assert 0.02 <= use["attributes"]["perfopt.module.used_after"] < 30
    assert seconds(use) == 0


def test_a_watched_module_is_an_ordinary_one_after_its_first_use(monkeypatch):
    """What import machinery and lookers-on ask for is no use; the first real one is told once; stopping leaves nothing."""
    heard = []
    watch = ImportWatch()
    for name in ("watched_one", "watched_two"):
        module = ModuleType(name)
        module.VALUE = 42
        monkeypatch.setitem(sys.modules, name, module)
        watch.watch(name, heard.append)
    one, two = sys.modules["watched_one"], sys.modules["watched_two"]
    assert type(one) is WatchedModule
    assert one.__name__ == "watched_one"
    assert repr(one).startswith("<module")
    assert isinstance(one, ModuleType)
    assert heard == []
    assert one.VALUE == 42
    assert (heard, type(one)) == (["watched_one"], ModuleType)
    with pytest.raises(AttributeError):
        one.absent  # noqa: B018 - asking is the point
    two.other = 1
    assert heard == ["watched_one", "watched_two"]
    watch.watch("watched_one", heard.append)
    watch.stop()
    assert type(one) is ModuleType
    assert one.VALUE == 42
    assert len(heard) == 2
