"""`lazy_import`: which imports wait, what happens when they are used, and that the end leaves nothing behind."""

from __future__ import annotations

import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from governed import NOBODY, decision, snapshot

from otel_perfopt.act.enrolment import Use
from otel_perfopt.act.lazy_import import LazyImport, is_denied
from otel_perfopt.act.lazy_module import LazyModule, is_waiting
from otel_perfopt.act.process_unit import THIS_PROCESS
from otel_perfopt.act.selection import Plan

Write = Callable[[str, str], None]
Begin = Callable[..., LazyImport]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules that can be imported; all are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def make(name: str, text: str) -> None:
        file = tmp_path / (name.replace(".", "/") + ".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begin `lazy_import` for modules whose names start with `heavy`, by default."""
    begun: list[LazyImport] = []

    def make(*, shadow: bool = False, **parameters: Any) -> LazyImport:
        given = {"modules": ["heavy*"], **parameters}
        rule = Plan.of(snapshot(decision("lazy_import", parameters=given, unit="process"))).process_rules[0]
        optimization = LazyImport()
        optimization.begin(Use(rule, shadow))
        begun.append(optimization)
        return optimization

    yield make
    for optimization in begun:
        optimization.end()
    THIS_PROCESS.unpin()


def load(text: str, name: str = "agent_program") -> dict[str, Any]:
    """Run a program's text as a module of its own."""
    module = ModuleType(name)
    exec(compile(textwrap.dedent(text), name + ".py", "exec"), module.__dict__)
    return module.__dict__


USES = "\ndef use():\n    return {name}.VALUE\n"
HEAVY = "import sys\nsys.heavy_loaded = getattr(sys, 'heavy_loaded', 0) + 1\nVALUE = 42\n"


@pytest.fixture(autouse=True)
def count() -> Iterator[Callable[[], int]]:
    """How often the heavy module's code ran."""
    sys.heavy_loaded = 0  # type: ignore[attr-defined]
    yield lambda: int(sys.heavy_loaded)  # type: ignore[attr-defined]
    del sys.heavy_loaded  # type: ignore[attr-defined]


def test_a_module_loads_when_it_is_first_used(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """Its code runs at the first use and once; afterwards it is an ordinary module."""
    write("heavy", HEAVY)
    lazy = begin()
    program = load("import heavy" + USES.format(name="heavy"))
    assert is_waiting(program["heavy"])
    load("import heavy" + USES.format(name="heavy"))
    assert count() == 0, "a second import must not wake it"
    assert program["use"]() == 42
    assert program["use"]() == 42
    assert count() == 1
    assert type(program["heavy"]) is ModuleType
    assert program["heavy"] is sys.modules["heavy"]
    assert program["heavy"].__spec__.loader_state is None
    assert lazy.facts() == {"deferred": 1, "loaded": 1}


@pytest.mark.parametrize(
    ("statement", "bound", "why"),
    [
        ("import heavy", "other", "nobody uses the name: it is there for what it does"),
        (
            "try:\n    import heavy\nexcept ImportError:\n    heavy = None",
            "heavy",
            "whoever tries wants to see it fail",
        ),
        ("import contextlib\nwith contextlib.suppress(ImportError):\n    import heavy", "heavy", "as does this one"),
        ("from heavy import VALUE", "VALUE", "what is taken out is needed now"),
        ("def later():\n    import heavy\n    return heavy\nheavy = later()", "heavy", "it waited already"),
        ("import importlib\nheavy = importlib.import_module('heavy')", "heavy", "asked for by name, now"),
    ],
)
def test_imports_that_do_not_wait(  # noqa: PLR0917 - what fixtures and cases give
    write: Write, begin: Begin, count: Callable[[], int], statement: str, bound: str, why: str
) -> None:
    """An import whose waiting could be noticed is made as it is written."""
    write("heavy", HEAVY)
    begin()
    load(f"{statement}\ndef use():\n    return {bound}\n")
    assert count() == 1, why


@pytest.mark.parametrize(
    "statement",
    ["import heavy.part as part", "from heavy import part", "import heavy.part as p, json as j\npart = None"],
)
def test_a_part_of_a_package_waits(write: Write, begin: Begin, count: Callable[[], int], statement: str) -> None:
    """The package is loaded, as importing inside it needs, and the part is not, however it is named."""
    write("heavy.__init__", "")
    write("heavy.part", HEAVY)
    begin()
    program = load(statement + "\ndef use():\n    return part.VALUE, p.VALUE\n")
    assert count() == 0
    waiting = sys.modules["heavy.part"]
    assert is_waiting(waiting)
    assert waiting.VALUE == 42
    assert count() == 1
    assert program


def test_very_long_programs_and_many_names(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """Names beyond the first 256 are read right, inside `try` or not."""
    write("heavy", HEAVY)
    write("heavy_too", HEAVY)
    begin()
    many = "\n".join(f"name_{number} = {number}" for number in range(700))
    tried = "\ntry:\n    import heavy_too\nexcept ImportError:\n    pass\n"
    program = load(many + "\nimport heavy\n" + many + tried + "def use():\n    return heavy.VALUE, heavy_too.VALUE\n")
    assert is_waiting(program["heavy"])
    assert not is_waiting(program["heavy_too"])
    assert count() == 1


def test_an_absent_module_fails_at_its_import(begin: Begin) -> None:
    """That there is none is said where it is imported."""
    begin()
    with pytest.raises(ModuleNotFoundError, match="heavy_and_absent"):
        load("import heavy_and_absent\ndef use():\n    return heavy_and_absent\n")


def test_an_error_reaches_whoever_uses_it(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """A module's own error comes unchanged at each use, as importing again would give it, until it is mended."""
    write("heavy", HEAVY + "if sys.heavy_loaded < 3:\n    raise RuntimeError('broken')\n")
    lazy = begin()
    program = load("import heavy" + USES.format(name="heavy"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            program["use"]()
        assert is_waiting(program["heavy"])
    assert program["use"]() == 42
    assert count() == 3
    assert lazy.facts() == {"deferred": 1, "load_errors": 2, "loaded": 1}


def test_many_threads_load_it_once(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """All wait for the one that loads, and see the whole module."""
    write("heavy", "import time\ntime.sleep(0.05)\n" + HEAVY)
    begin()
    program = load("import heavy" + USES.format(name="heavy"))
    seen: list[int] = []
    gate = threading.Barrier(16)

    def ask() -> None:
        gate.wait()
        seen.append(program["use"]())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [42] * 16
    assert count() == 1


def test_threads_that_need_each_others_modules_do_not_hang(write: Write, begin: Begin) -> None:
    """Where one thread loads A, which uses B, and another B, which uses A, both go on, as with plain imports."""
    body = "import time\nimport {other}\nBEFORE = 1\ntime.sleep(0.1)\ndef use():\n    return {other}\nFOUND = {other}.BEFORE\n"
    write("heavy_a", body.format(other="heavy_b"))
    write("heavy_b", body.format(other="heavy_a"))
    begin()
    program = load("import heavy_a, heavy_b\ndef use():\n    return heavy_a, heavy_b\n")
    errors: list[BaseException] = []

    def ask(name: str) -> None:
        try:
            assert program[name].BEFORE == 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in ("heavy_a", "heavy_b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    # What one sees of the other may be incomplete, as the import system allows; nothing else may go wrong.
    assert all(isinstance(error, AttributeError) for error in errors)


def test_a_module_that_puts_another_in_its_place(write: Write, begin: Begin) -> None:
    """Whoever holds the module that waited is led to what took its place."""
    write("heavy", "import sys\nclass Other:\n    VALUE = 42\nsys.modules[__name__] = Other()\n")
    begin()
    program = load("import heavy" + USES.format(name="heavy"))
    assert program["use"]() == 42
    assert program["use"]() == 42


def test_a_module_is_changed_after_it_is_loaded(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """Setting, deleting and listing what it holds load it first, so that nothing is overwritten later."""
    write("heavy", HEAVY)
    begin()
    program = load("import heavy" + USES.format(name="heavy"))
    program["heavy"].VALUE = 43
    assert (program["use"](), count()) == (43, 1)
    write("heavy_two", HEAVY)
    program = load("import heavy_two\ndef use():\n    return heavy_two\n")
    assert "VALUE" in dir(program["heavy_two"])


def test_whoever_looks_over_all_modules_wakes_none(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """Files, specs, loaders and names of modules are known without running them."""
    write("heavy", HEAVY)
    begin()
    module = load("import heavy" + USES.format(name="heavy"))["heavy"]
    assert module.__file__.endswith("heavy.py")
    assert module.__spec__.loader is module.__loader__
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert "heavy" in repr(module)
    assert not hasattr(module, "__warningregistry__")
    assert count() == 0


def test_the_end_takes_it_back(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """No finder stays, further imports do not wait, what waited still loads, and both may happen twice."""
    write("heavy", HEAVY)
    write("heavy_later", HEAVY)
    before = list(sys.meta_path)
    lazy = begin()
    assert sys.meta_path[1:] == before
    waiting = load("import heavy" + USES.format(name="heavy"))
    lazy.end()
    lazy.end()
    assert sys.meta_path == before
    load("import heavy_later" + USES.format(name="heavy_later"))
    assert count() == 1
    assert waiting["use"]() == 42


def test_shadow_counts_and_lets_load(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """In shadow every import is made as ever, and those that would wait are counted."""
    write("heavy", HEAVY)
    lazy = begin(shadow=True)
    load("import heavy" + USES.format(name="heavy"))
    assert count() == 1
    assert lazy.facts() == {"deferred": 1}


def test_what_is_never_put_off(begin: Begin) -> None:
    """Neither the standard library nor what changes others when it is loaded, whatever the policy names."""
    begin(modules=["*"])
    assert is_denied("json.decoder")
    assert is_denied("opentelemetry.trace")
    assert is_denied("gevent.monkey")
    sys.modules.pop("this", None)
    sys.modules.pop("colorsys", None)
    program = load("import colorsys\ndef use():\n    return colorsys\n")
    assert type(program["colorsys"]) is ModuleType


def test_excluded_modules_load_as_written(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """A policy's exception wins over its pattern."""
    write("heavy", HEAVY)
    begin(exclude=["heavy"])
    load("import heavy" + USES.format(name="heavy"))
    assert count() == 1


def test_modules_are_loaded_ahead(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """In the background, also those that wait; one that fails keeps nothing from the others."""
    write("heavy", HEAVY)
    write("broken_ahead", "raise SystemExit(3)\n")
    write("fine_ahead", "VALUE = 1\n")
    lazy = begin(prefetch=["broken_ahead", "heavy", "fine_ahead"], prefetch_after_s=0.05)
    program = load("import heavy" + USES.format(name="heavy"))
    assert is_waiting(program["heavy"])
    deadline = threading.Event()
    for _ in range(200):
        if "fine_ahead" in sys.modules and not is_waiting(program["heavy"]):
            break
        deadline.wait(0.02)
    assert count() == 1
    assert "broken_ahead" not in sys.modules
    deadline.wait(0.05)
    assert lazy.facts()["prefetched"] == 2
    assert lazy.facts()["prefetch_errors"] == 1


def test_ending_stops_loading_ahead(write: Write, begin: Begin) -> None:
    """Once taken back nothing more is loaded ahead."""
    write("later_ahead", "VALUE = 1\n")
    lazy = begin(prefetch=["later_ahead"], prefetch_after_s=0.2)
    lazy.end()
    threading.Event().wait(0.4)
    assert "later_ahead" not in sys.modules


def test_a_custom_loader_is_left_alone(write: Write, begin: Begin, count: Callable[[], int]) -> None:
    """A module that another finder makes in its own way is not put off."""

    class Loader:
        def create_module(self, spec: object) -> None:
            return None

        def exec_module(self, module: ModuleType) -> None:
            sys.heavy_loaded += 1  # type: ignore[attr-defined]

    class Finder:
        def find_spec(self, name: str, path: object, target: object = None) -> Any:
            from importlib.machinery import ModuleSpec  # noqa: PLC0415

            return ModuleSpec(name, Loader()) if name == "heavy_custom" else None  # type: ignore[arg-type]

    begin()
    finder = Finder()
    sys.meta_path.append(finder)  # type: ignore[arg-type]
    try:
        program = load("import heavy_custom\ndef use():\n    return heavy_custom\n")
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
    assert count() == 1
    assert not isinstance(program["heavy_custom"], LazyModule)


def test_a_process_of_the_baseline_imports_plainly() -> None:
    """Nothing is wanted of a process that is not in treatment."""
    plan = Plan.of(snapshot(decision("lazy_import", parameters={"modules": ["x"]}, unit="process", allocation=NOBODY)))
    assert len(plan.process_rules) == 1
