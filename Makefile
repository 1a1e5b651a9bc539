# Two commands for a fresh machine: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint types imports check bare collector docs clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/perfopt demo --yes

# Tests of real clocks, threads and processes may lose a race where the machine stalls: what failed runs once more,
# alone, with both outcomes printed. A fault fails twice; a crash or an error in collecting has no second run.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 --dist loadfile || { [ $$? -eq 1 ] && $(BIN)/python -m pytest --last-failed --last-failed-no-failures=none; }

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

imports: $(VENV)/.installed
	$(BIN)/lint-imports

check: lint types imports test

# A production agent's install: nothing heavy is there, and a command says which extra brings what it needs.
bare: $(VENV)/.installed
	rm -rf $(VENV)-bare dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(PYTHON) -m venv $(VENV)-bare
	$(VENV)-bare/bin/python -m pip install --quiet dist/otel_perfopt-*.whl
	$(VENV)-bare/bin/python -c "import otel_perfopt; assert otel_perfopt.instrument()"
	$(VENV)-bare/bin/perfopt analyze 2>&1 | grep "pip install 'otel-perfopt\[analysis\]'"

# A Collector with just the parts used, and a Jaeger to look at traces with; from nothing that takes minutes.
collector:
	collector/build

# The references that the code writes, and the whole site; a warning is an error.
docs: $(VENV)/.installed
	$(BIN)/python -m docs.generate
	$(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(VENV)-bare .perfopt .mypy_cache .ruff_cache .pytest_cache dist build
