from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from otel_perfopt.signal.frameworks.integrations import INTEGRATIONS

NAMES = [integration.name for integration in INTEGRATIONS]
PROGRAM = """
import importlib, sys, tempfile
import otel_perfopt
from otel_perfopt.signal.emit.faults import faults
from otel_perfopt.signal.frameworks.integrations import INTEGRATIONS

def codes(module):
    found = {}
    for owner in [module, *(value for value in vars(module).values() if isinstance(value, type))]:
        for value in list(vars(owner).values()):
            for function in (value, getattr(value, "__wrapped__", None)):
                if hasattr(function, "__code__"):
                    found[id(function)] = (function, function.__code__)
    return found

integration = next(item for item in INTEGRATIONS if item.name == sys.argv[1])
assert otel_perfopt.instrument(home=tempfile.mkdtemp(), lazy=True)
roots = {name.partition(".")[0] for item in INTEGRATIONS for name in item.modules}
assert not roots & set(sys.modules), roots & set(sys.modules)
modules = []
for name in integration.modules:
    try:
        modules.append(importlib.import_module(name))
    except ImportError:
        pass
watched = {key: item for module in modules for key, item in codes(module).items()}
otel_perfopt.uninstrument()
plain = {key: item for module in modules for key, item in codes(module).items()}
taken = [item[0].__qualname__ for key, item in watched.items() if plain[key][1] is not item[1]]
assert not faults, faults
print(*sorted(taken))
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_library_is_taken_over_at_its_import_and_given_back(name):
    """Nothing is imported for its own sake; what is taken over when a program imports it is given back whole."""
    integration = next(item for item in INTEGRATIONS if item.name == name)
    root = integration.modules[0].partition(".")[0]
    if importlib.util.find_spec(root) is None:
        pytest.skip(f"{root} is not installed")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) >= 2


def test_the_table_names_each_module_once():
    """No two integrations take over the same module under the same name."""
    modules = [(module, integration.name) for integration in INTEGRATIONS for module in integration.modules]
    assert len(set(modules)) == len(modules)
    assert len(set(NAMES)) == len(NAMES)
