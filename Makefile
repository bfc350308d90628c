# What one can do here. Everything is set up in .venv; the system's Python stays as it is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.set-up
PEERS := $(VENV)/.peers
.DEFAULT_GOAL := help
# What is compiled is kept, beside the kernels that Numba keeps there: tests start many processes.
unexport PYTHONDONTWRITEBYTECODE

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

$(SETUP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Footfall needs Python 3.11 or newer; name one with `make PYTHON=python3.12 ...`")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV): the locked packages are fetched and checked, which takes a minute or two"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(SETUP)  ## make .venv with everything in it

demo: $(SETUP)   ## the whole loop on a simulated month: simulate, import, value, plan, explain, report
	$(BIN)/footfall demo

test: $(SETUP)   ## the tests: about six minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(SETUP) ## the tests with the slow simulations and peers
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow or not slow'

check: $(SETUP)  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

fix: $(SETUP)    ## put style right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(PEERS): $(SETUP) requirements-bench.lock
	@echo "Fetching the peers to measure against"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

bench: $(PEERS)  ## measure against peers in the same run, as ratios
	$(BIN)/python benchmarks/run.py

lock: $(SETUP)   ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --generate-hashes --group dev pyproject.toml requirements-build.in -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --no-header --no-annotate --generate-hashes --group dev --group bench pyproject.toml requirements-build.in -c requirements.lock -o requirements-bench.lock

clean:           ## remove what was made here
	rm -rf $(VENV) footfall-demo footfall-open-bandit .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help setup demo test test-all check fix bench lock clean
