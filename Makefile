# Everything from a fresh clone: python3 (3.11+), make and node are all it takes.
# What is installed is remembered by stamp files in .make/; a warm call installs nothing.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
TESTS ?= tests
EXTENSION := $(shell find extension -type f -not -path '*/node_modules/*' -not -path '*/lib/*' -not -path '*/shared/*' \
	-not -name '*.tsbuildinfo' 2>/dev/null) $(wildcard flowbook/widgets/draw.*) $(wildcard kernels/*/* jupyter-config/*/*)

.PHONY: help run lab test test-evict simulate check format bench bench-gate bench-growth bench-peers kills soak setup clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{ printf "  make %-11s %s\n", $$1, $$2 }'

run: setup ## set up, then run a sample workflow durably in the terminal
	@$(BIN)/flowbook run sample_notebooks/provision_vm.ipynb

lab: setup ## open JupyterLab with the extension and the sample notebooks
	@cd sample_notebooks && ../$(BIN)/flowbook lab

test: setup .make/dev .make/chromium ## run all tests: unit, process, crash, browser
	@$(BIN)/python -m pytest -n 3 --dist loadfile $(TESTS)

simulate: setup .make/dev ## 50,000 simulated worlds of faults (SEEDS=A-B others, SEED=N one of them in full)
	@$(BIN)/python -W ignore -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1-50000))

test-evict: setup .make/dev ## the same tests of real processes, with every run dropped from memory whenever it waits
	@FLOWBOOK_ALWAYS_EVICT=1 $(BIN)/python -m pytest -n 3 --dist loadfile -m "not browser" tests

check: setup .make/dev ## format, lint, types, import contracts
	@echo "format"; $(BIN)/ruff format --check .
	@echo "lint"; $(BIN)/ruff check .
	@echo "types"; $(BIN)/mypy
	@echo "types of the extension"; cd extension && npm run --silent check
	@echo "contracts"; $(BIN)/lint-imports --no-cache | sed -n '/^Contracts:/,$$p'

format: .make/dev ## format the Python code and fix what lint can fix
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format .

bench: setup ## measure what the design promises, on this machine
	@$(BIN)/python -m benchmarks

bench-gate: setup ## the same, and fail where a figure is slower beside the raw limits of the same run than it was
	@$(BIN)/python -m benchmarks --gate

bench-growth: setup ## measure how the figures change as projects grow, and draw them (PLOT=growth.svg MOST=1000000)
	@$(BIN)/python -m benchmarks.growth $(if $(MOST),--most $(MOST)) --plot $(or $(PLOT),growth.svg)

bench-peers: setup ## install DBOS, LangGraph, Temporal and Restate aside, and measure the same work on them
	@$(BIN)/python -m benchmarks.peers

kills: setup .make/dev ## SIGKILL engine and workers at random for MINUTES=5, and look for anything lost or done twice
	@$(BIN)/python -m tests.crash.ordeal --minutes $(or $(MINUTES),5)

soak: setup .make/dev ## an hour of everything at once (MINUTES=60): no growth, nothing stuck, nothing wrong
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),60)

setup: .make/python .make/extension ## install everything into .venv and build the extension

clean: ## remove what was installed and built (not the .flowbook state folders)
	rm -rf .venv .make extension/node_modules extension/lib flowbook/labextension flowbook/widgets/static

# What is installed

.make/venv:
	@tools/require.sh $(PYTHON)
	@mkdir -p .make
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@touch $@

.make/python: pyproject.toml | .make/venv
	@echo "setting up: Python packages (the first time takes a minute or two)"
	@$(PIP) install -e '.[lab,samples]'
	@touch $@

.make/dev: pyproject.toml | .make/python
	@echo "setting up: development tools"
	@$(PIP) install -e '.[lab,samples,dev]'
	@touch $@

.make/node: extension/package-lock.json | .make/python
	@echo "setting up: node packages"
	@cd extension && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# The second install copies the built extension to where JupyterLab looks for it.
.make/extension: $(EXTENSION) .make/node
	@echo "setting up: the JupyterLab extension"
	@cd extension && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent build
	@$(PIP) install --no-deps -e .
	@touch $@

.make/chromium: | .make/venv
	@tools/chromium.sh
	@touch $@
