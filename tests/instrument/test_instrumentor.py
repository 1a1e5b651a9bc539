from __future__ import annotations

import functools
import importlib
import sys
import types

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otel_perfopt
from otel_perfopt.instrumentor import PerfoptInstrumentor
from otel_perfopt.settings import AgentSettings
from otel_perfopt.signal.emit import discovery, model_calls, tool_calls
from otel_perfopt.signal.emit.discovery import functions_named
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.emit.targets import TargetName, found_in
from otel_perfopt.signal.emit.tools import known_tool


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A user's module, loaded from a file: tools in a table, a class, something that is no plain function."""
    (tmp_path / "users_shop.py").write_text(
        "import functools\n"
        "def find(text): return text\n"
        "def other(text): return text * 2\n"
        "class Desk:\n"
        "    def note(self, text): return text + '!'\n"
        "    @staticmethod\n"
        "    def fixed(text): return text\n"
        "DESK = Desk()\n"
        "TABLE = {'look_up': find, 'write_down': DESK.note}\n"
        "@functools.lru_cache\n"
        "def kept(text): return text\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("users_shop")
    sys.modules.pop("users_shop", None)


@pytest.fixture
def provider():
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.names = lambda: [span.name for span in exporter.get_finished_spans()]
    return provider


@pytest.fixture
def on(provider, tmp_path):
    """Turn the instrumentation on with options; it is taken back at the end."""

    def start(**options):
        assert otel_perfopt.instrument(tracer_provider=provider, home=tmp_path / "home", **options)

    yield start
    otel_perfopt.uninstrument()


def test_everything_can_be_undone(on, module, provider):
    """Twice on and off: each time functions, callables, interceptor and processors are as they were."""
    functions = (module.find, module.Desk.note)
    before = [function.__code__ for function in functions]
    kept, processors = module.kept, provider._active_span_processor._span_processors
    set_provider = trace.set_tracer_provider.__code__
    for _ in range(2):
        on(tools=["users_shop:find", "users_shop:kept"], commands=["users_shop:Desk.note=/note"])
        on(tools=["ignored:twice"])
        assert module.find("a") == module.kept("a") == "a"
        assert module.TABLE["write_down"]("a") == "a!"
        assert tool_calls.get_interceptor() is not None
        assert len(provider._active_span_processor._span_processors) == 2
        otel_perfopt.uninstrument()
        otel_perfopt.uninstrument()
        assert [function.__code__ for function in functions] == before
        assert module.kept is kept
        assert provider._active_span_processor._span_processors == processors
        assert trace.set_tracer_provider.__code__ is set_provider
        assert tool_calls.get_interceptor() is None
        assert known_tool("kept") is None
        module.find("b")
    assert provider.names() == ["execute_tool find", "execute_tool kept", "/note"] * 2
    assert not faults


def test_tools_are_discovered_by_table_name_and_method(on, module, provider):
    """What a model call offers is found by the surest sign: a table, a module's function, the only method."""
    on()
    discovery.tools_offered(("look_up", "write_down", "other", "fixed", "no such thing"))
    assert module.find("a") == "a"
    assert module.DESK.note("a") == "a!"
    module.other("x")
    assert provider.names() == ["execute_tool look_up", "execute_tool write_down", "execute_tool other"]
    (template,) = [known_tool("write_down").template()]
    assert template.function(*template.args, "b") == "b!"
    assert known_tool("find") is None
    assert not faults


def test_explicit_names_win_over_discovery(on, module, provider):
    """A function named in configuration keeps the name it was given there."""
    on(tools=["users_shop:find=mine"], effects=["mine=read"])
    discovery.tools_offered(("look_up",))
    module.find("a")
    assert provider.names() == ["execute_tool mine"]
    assert known_tool("mine").effects == "read"


def test_the_same_names_are_looked_for_once(on, module, monkeypatch):
    """A set of names met before costs a comparison, not a search."""
    on()
    searches = []
    monkeypatch.setattr(discovery, "functions_named", lambda names, modules: searches.append(names) or {})
    for _ in range(5):
        discovery.tools_offered(("look_up", "other"))
    discovery.tools_offered(("look_up", "new"))
    assert searches == [["look_up", "other"], ["new"]]


def test_libraries_are_left_alone():
    """A name that only a library has is not taken for a tool."""
    assert functions_named(["dumps", "dataclass"], discovery.user_modules()) == {}
    users = {module.__name__ for module in discovery.user_modules()}
    assert not users & {"json", "pytest", "opentelemetry", "otel_perfopt", "typing"}


def test_names_that_stand_for_nothing_are_counted_and_harmless(on):
    """A name of the wrong form, of a module or function that does not exist: nothing happens."""
    on(tools=["nonsense", "users_nowhere:x", "json:no_such_function"])
    assert faults == {"target name": 1}


def test_an_import_is_never_broken_by_us(on, tmp_path, monkeypatch):
    """A fault while a module's functions are taken over leaves the module imported."""
    (tmp_path / "late_module.py").write_text("def f(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    on(tools=["late_module:f"])
    monkeypatch.setattr("otel_perfopt.instrumentor.take_tool", lambda *args, **kwargs: 1 / 0)
    late = importlib.import_module("late_module")
    assert late.f() == 1
    assert faults["target"] == 1
    sys.modules.pop("late_module")


def test_a_runtime_that_cannot_be_installed_leaves_plain_calls(on, module, monkeypatch):
    """Without the act room the agent is watched, and its calls are plain."""
    monkeypatch.setitem(sys.modules, "otel_perfopt.act.runtime", None)
    monkeypatch.delattr("otel_perfopt.act.runtime", raising=False)
    on(tools=["users_shop:find"])
    assert module.find("a") == "a"
    assert tool_calls.get_interceptor() is None
    assert faults["runtime"] == 1


def test_switched_off_it_does_nothing(on, module):
    """With the settings' switch off nothing is taken over."""
    code = module.find.__code__
    on(tools=["users_shop:find"], enabled=False)
    assert module.find.__code__ is code


def test_faults_while_turning_on_are_swallowed(on, monkeypatch):
    """Whatever fails in setting up, the host goes on."""
    monkeypatch.setattr("otel_perfopt.instrumentor.Targets", lambda *args: 1 / 0)
    on(tools=["a:b"])
    assert faults["instrument"] == 1


def test_it_is_an_instrumentor_by_the_conventions():
    """No dependencies, one instance, found by its entry point."""
    (entry,) = importlib.metadata.entry_points(group="opentelemetry_instrumentor", name="perfopt")
    assert entry.load() is PerfoptInstrumentor
    assert PerfoptInstrumentor().instrumentation_dependencies() == ()
    assert PerfoptInstrumentor() is PerfoptInstrumentor()


def test_globs_stand_only_for_functions_written_there(module):
    """`module:*` leaves out imports, hidden names and classes; `Class.*` reaches methods, also static ones."""
    module.borrowed = functools.wraps
    module._hidden = types.FunctionType(module.find.__code__, vars(module), "_hidden")

    def attributes(text):
        return [target.attribute for target in found_in(module, TargetName.parse(text))]

    assert attributes("users_shop:*") == ["find", "other"]
    assert attributes("users_shop:Desk.*") == ["note", "fixed"]
    assert attributes("users_shop:f*") == ["find"]
    assert attributes("users_shop:kept") == ["kept"]
    assert attributes("users_shop:Desk.missing") == attributes("users_shop:Missing.note") == []


def test_settings_from_an_environment():
    """Every variable is read, and what makes no sense keeps the default."""
    settings = AgentSettings.from_environment(
        {
            "PERFOPT_TOOLS": "a:b, c:d",
            "PERFOPT_DISCOVER_TOOLS": "off",
            "PERFOPT_IDLE_S": "nonsense",
            "PERFOPT_TELEMETRY_FILE_BYTES": "1000",
            "PERFOPT_KILL": "yes",
        }
    )
    assert settings.tools == ("a:b", "c:d")
    assert settings.killed
    assert not settings.discover_tools
    assert settings.idle_s == AgentSettings().idle_s == 300
    assert settings.telemetry_file_bytes == 1000
    assert AgentSettings.from_environment({}) == AgentSettings()


def test_conversations_are_forgotten_when_it_is_undone(on):
    """Nothing of a process's conversations is kept after the instrumentation is off."""
    on()
    kept = model_calls._conversations
    otel_perfopt.uninstrument()
    assert model_calls._conversations is not kept
