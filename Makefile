# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# Hundreds of short processes: compiled once, not in each.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test checks suite parts lint bench clean

demo: $(VENV)/.installed
	$(BIN)/python sample_logs/demo.py

# Installing and type checking use one core: two things at a time.
test:
	$(MAKE) --no-print-directory -j 2 suite checks

checks: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

suite: $(VENV)/.dev parts
	$(BIN)/python -m pytest -n auto --dist worksteal

parts:
	sh tests/install-parts.sh

lint: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/bench.py

# Not compiled: of thousands of modules those that are used compile themselves.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --editable .
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev,postgres]'
	touch $(VENV)/.installed $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || (echo "apilens needs Python 3.11 or newer; set PYTHON=…" && exit 1)
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) apilens-data out
