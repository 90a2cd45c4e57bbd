# Everything starts from a bare Python 3.11 or newer:
#   make install   the virtual environment .venv, with the package and its extras
#   make test      lint, types, tests, notebooks
#   make demo      follow seven people through real detections
#   make docs      write what follows from registry and imports: public names, tables, architecture
#   make weights   train again the tracker's weights that ship in ppl_models/weights

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread a process: small networks run many times faster so on a busy machine.
export OMP_NUM_THREADS ?= 1
export MPLBACKEND ?= Agg
PYTEST := $(BIN)/pytest -p no:cacheprovider

.PHONY: help install lint types quick slow notebooks test demo docs weights clean

help:
	@sed -n 's/^#   //p' Makefile

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@for python in python3.11 python3 python3.12 python3.13 none; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	if [ $$python = none ]; then echo "make install needs Python 3.11 or newer on the PATH" >&2; exit 1; fi; \
	[ -x $(BIN)/python ] || $$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[tracking,graph,audio,notebooks,dev]'
	@touch $@

install: $(STAMP)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache

types: install
	$(BIN)/mypy

quick: install
	$(PYTEST) -q -n 2 -m "not slow"

slow: install
	$(PYTEST) -q -n 2 -m slow

notebooks: install
	$(PYTEST) -q -n 2 --nbmake --nbmake-timeout=300 notebooks

# In this order, so that the cheapest failure is met first.
test: install
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory types
	$(MAKE) --no-print-directory quick
	$(MAKE) --no-print-directory slow
	$(MAKE) --no-print-directory notebooks

demo: install
	@$(BIN)/ppl demo

docs: install
	$(BIN)/python -m tools.tables
	$(BIN)/python -m tools.architecture

weights: install
	$(BIN)/python -m inference.tasks.tracking.pretrain

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
