# What a person or a machine does with this checkout; each target is readable by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?= -n 3 --dist worksteal
PLUGINS := plugins/mysql plugins/postgres plugins/sqlite plugins/storage/local plugins/profiles/local
DISTRIBUTIONS := . $(wildcard $(PLUGINS))

.PHONY: demo test bench lint dist setup clean
setup: $(VENV)/.ready

$(VENV)/.ready: requirements.lock $(wildcard pyproject.toml $(PLUGINS:=/pyproject.toml)) tests/setup-venv
	tests/setup-venv $(PYTHON) $(VENV) $(DISTRIBUTIONS)
	touch $@

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/demo.py

test: setup
	tests/install-servers
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest $(PYTEST_ARGS)

bench: setup
	tests/install-servers
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.bench

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy tklbam_core $(wildcard plugins/*/tklbam_* plugins/*/*/tklbam_*)

dist: setup
	for each in $(DISTRIBUTIONS); do $(BIN)/python -m build --no-isolation --outdir dist $$each || exit 1; done

clean:
	rm -rf $(VENV) dist
