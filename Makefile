# Everything is installed into .venv and cached there: nothing outside this folder changes.
PYTHON ?= python3
ARGS ?=

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
PACKAGING := requirements.txt setup.cfg pyproject.toml

export PIP_NO_CACHE_DIR := 1
export XDG_CACHE_HOME := $(CURDIR)/$(VENV)/cache
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/matplotlib

.PHONY: help run test test-all test-versions lint docs clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## train the base agent; flags go into ARGS, e.g. make run ARGS="--env=HalfCheetah-v5 --seed=3"
	$(VENV)/bin/python -m lsp.run --agent=sac_lsp $(ARGS)

PYTEST := $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: lint ## lint, type-check and test, minutes; pytest's options go into ARGS, e.g. make test ARGS="-k flows"
	$(PYTEST) -m "not slow and not audit" $(ARGS)

test-all: lint ## the same with the tests that take long, too
	$(PYTEST) -m "not audit" $(ARGS)

test-versions: ## test quickly under every Python from 3.11 to 3.13 that is here, each in .venv-VERSION
	tests/versions.sh

lint: $(VENV)/.installed-test ## lint and type-check
	$(VENV)/bin/python -m ruff check
	$(VENV)/bin/python -m mypy

docs: $(VENV)/.installed-docs ## build the documentation into site/, which opens from the disk: site/index.html
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

clean: ## remove the environment and everything generated except runs/
	rm -rf $(VENV) $(VENV)-3.* build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lsp needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# The stamps keep an installed environment from being installed again until its requirements change.
$(VENV)/.installed: $(PACKAGING) | $(VENV)/bin/pip
	@echo "installing into $(VENV): about 1.3 GB, a minute or more"
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(PACKAGING) | $(VENV)/bin/pip
	@echo "installing into $(VENV): about 1.3 GB, a minute or more"
	$(PIP) install --quiet --editable '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(PACKAGING) | $(VENV)/bin/pip
	@echo "installing into $(VENV): what builds the documentation"
	$(PIP) install --quiet --editable '.[docs]'
	@touch $(VENV)/.installed $@
