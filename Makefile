# Everything starts from a bare Python 3.11 or newer:
#   make install   the virtual environment .venv, with the package and its extras
#   make test      lint, types, tests, lessons, the site
#   make demo      follow whoever comes and goes through two whole videos: pictures, a table
#   make notebook  open the lessons in the browser (Ctrl-C ends it)
#   make docs      build the site, build/site, from docs/, the executed lessons and the docstrings
#   make tables    write what follows from registry, imports and lessons: names, tables, the path
#   make lessons   execute the lessons that changed, and write their pages in docs/lessons
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
PYTEST := $(BIN)/pytest -p no:cacheprovider --dist worksteal

.PHONY: help install lint types quick slow notebooks notebook test demo docs tables lessons weights clean

help:
	@sed -n 's/^#   //p' Makefile

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@for python in python3.11 python3 python3.12 python3.13 none; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	if [ $$python = none ]; then echo "make install needs Python 3.11 or newer on the PATH" >&2; exit 1; fi; \
	[ -x $(BIN)/python ] || { echo "making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV); }
	@echo "installing the package and its tools into $(VENV): some minutes, and 2 to 6 GB of PyTorch"
	@$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e '.[tracking,graph,audio,notebooks,docs,dev]' \
	    | sed -u -n -E '/^ *(Collecting|Downloading|Building|Installing|Successfully)/{s/^(.{90}).*/\1 .../;p;}'
	@touch $@
	@echo
	@echo "Installed. The command is $(BIN)/ppl; after \`source $(BIN)/activate\` it is \`ppl\`."
	@echo "Try: make demo, make notebook, $(BIN)/ppl stories"

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
	$(BIN)/python -m tools.run_lessons

# In this order, so that the cheapest failure is met first.
test: install
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory types
	$(MAKE) --no-print-directory quick
	$(MAKE) --no-print-directory slow
	$(MAKE) --no-print-directory docs

demo: install
	@$(BIN)/ppl demo

notebook: install
	@echo "opening notebooks/ in the browser; Ctrl-C here ends it"
	@unset MPLBACKEND; $(BIN)/jupyter lab --notebook-dir=notebooks \
	    $(if $(filter 0,$(shell id -u)),--allow-root) $(JUPYTER) notebooks/01_your_own_model.ipynb

lessons: install
	@unset MPLBACKEND; $(BIN)/python -m tools.lessons

docs: notebooks
	$(BIN)/python -m tools.site

tables: install
	$(BIN)/python -m tools.tables
	$(BIN)/python -m tools.path
	$(BIN)/python -m tools.architecture

weights: install
	$(BIN)/python -m inference.tasks.tracking.pretrain

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
