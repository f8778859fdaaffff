# nbkit. `make lab` opens the first notebook, `make test` checks everything; each sets up what it needs by itself.
#
#   make lab      JupyterLab on the first notebook           make lint     ruff, mypy, import-linter
#   make test     linters, types, front end, notebooks,      make build    sdist and wheel in dist/
#                 a real browser: everything                 make clean    remove everything that make made
#   make setup    only the set-up of the two
#
# Variables: PYTHON (an interpreter), TORCH_INDEX (where PyTorch comes from), NOTEBOOK (what `make lab` opens),
# LAB (more options of `nbkit lab`, such as LAB=--no-browser), PYTEST (more options of pytest).

VENV     := .venv
BIN      := $(VENV)/bin
NOTEBOOK ?= notebooks/course/01-first-diagram.ipynb
export PATH := $(CURDIR)/$(BIN):$(PATH)

BUNDLE   := nbkit/widgets/static/session.js
SOURCES  := $(wildcard widgets/*.json widgets/*.mjs widgets/src/* widgets/src/*/*)

.PHONY: lab test setup build lint test-front-end test-python clean
.DEFAULT_GOAL := setup

lab: $(VENV)/.lab
	$(BIN)/nbkit lab $(NOTEBOOK) $(LAB)

test: setup lint test-front-end test-python

setup: $(VENV)/.test
	@scripts/setup.sh system

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

test-front-end: widgets/node_modules/.installed
	cd widgets && npm test

test-python: $(VENV)/.test
	$(BIN)/pytest $(PYTEST)

build: $(VENV)/.test
	$(BIN)/python -m build --no-isolation

clean:
	rm -rf $(VENV) dist widgets/node_modules nbkit/widgets/static .mypy_cache .ruff_cache .pytest_cache

# Stamps live inside what they vouch for, so that removing a folder also removes its stamp.
$(VENV)/.base: scripts/setup.sh
	@scripts/setup.sh base
	@touch $@

$(VENV)/.lab $(VENV)/.test: $(VENV)/.%: pyproject.toml $(VENV)/.base | $(BUNDLE)
	@scripts/setup.sh extra $*
	@touch $@

widgets/node_modules/.installed: widgets/package.json widgets/package-lock.json | $(VENV)/.base
	cd widgets && npm ci --no-audit --no-fund
	@touch $@

$(BUNDLE): $(SOURCES) | widgets/node_modules/.installed
	cd widgets && npm run build
	@touch $@
