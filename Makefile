# One command for each thing a contributor does; CI runs the same (see .ci/run).
#
#   make setup      the environment, in .venv; does nothing while it is current
#   make demo       a clip rendered, taken apart and scored, in demo/
#   make check      lint, format, types, import layers, and the syntax floor of what hosts import
#   make test       check and the ordinary tests
#   make test-slow  the tests that take longer
#   make fuzz       coverage-guided fuzzing of every parser: make fuzz FUZZ_SECONDS=300 TARGETS="job event"
#   make bench      the benchmarks
#   make translation LANGUAGE=de   the panel's words for that language: new ones added, and what is there compiled
#   make clean      removes what the others made, the environment included
#
# PYTHON names the interpreter to make the environment with, 3.10 to 3.13; VENV another place for it;
# PYTHON39 a Python 3.9, the oldest a host brings, to import the host modules with; one of pyenv's is found.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo check host-floor test test-slow fuzz bench translation clean

PYTHON ?= python3
PYTHON39 ?= $(shell for p in python3.9 "$$HOME"/.pyenv/versions/3.9.*/bin/python; do \
    "$$p" -c '' 2> /dev/null && echo "$$p" && break; done)
VENV ?= .venv
FUZZ_SECONDS ?= 60
TARGETS ?= $(shell sed -n 's/^        Target("\([a-z_]*\)".*/\1/p' tests/fuzz/targets.py)
RUN := $(VENV)/bin/python -m
STAMP := $(VENV)/.installed
PANEL := $(wildcard gui/penumbra_gui/*.py gui/penumbra_gui/*/*.py)
TRANSLATIONS := gui/penumbra_gui/translations
HOST_MODULES := plugin_nuke plugin_resolve $(wildcard $(addprefix engine/penumbra/,job.py events.py launch.py errors.py layer_graph.py nuke_script.py storage.py))

help:
	@sed -n '3,11s/^# *//p' Makefile

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	    { echo "$(PYTHON) is not Python 3.10 to 3.13. Name one: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(RUN) pip --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	    { echo "$(PYTHON) cannot make an environment. On Debian: apt install python3-venv" >&2; exit 1; }
	$(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup
	$(RUN) penumbra synth demo/clip --replace
	$(RUN) penumbra decompose --job demo/clip/job.json -o demo/layers --refine 100 --replace
	$(RUN) penumbra score demo/clip demo/layers
	@echo "Look at demo/layers/preview/contact_sheet.png"

check: setup host-floor
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(VENV)/bin/lint-imports

# Nuke 14 brings Python 3.9: newer syntax in these would not even import there.
host-floor: setup
	$(RUN) ruff check --isolated --quiet --target-version py39 --select E9,F63,F7 $(HOST_MODULES)
	@if [ -n "$(PYTHON39)" ]; then \
	    "$(PYTHON39)" -B -I -S tests/import_host_modules.py; \
	else \
	    echo "host-floor: no Python 3.9 here, so the host modules were not imported with it: skipped"; \
	fi

test: check
	$(RUN) pytest

# pytest ends with 5 where no test is marked so.
test-slow: setup
	$(RUN) pytest -m 'slow and not gpu and not host' || [ $$? -eq 5 ]

# Stops at the first input that is neither read nor refused; it is left in build/fuzz/TARGET.
fuzz: setup
	@for target in $(TARGETS); do \
	    echo "fuzzing $$target for $(FUZZ_SECONDS) s"; PYTHONPATH=tests $(RUN) fuzz.guided $$target $(FUZZ_SECONDS) || exit 1; \
	done

bench: setup
	@for script in benchmarks/*.py; do \
	    if [ -e "$$script" ]; then echo "$$script"; $(VENV)/bin/python "$$script"; fi; \
	done

# Sentences of the engine stay English; what is not translated yet is shown in English.
translation: setup
	@[ -n "$(LANGUAGE)" ] || { echo "Name the language: make translation LANGUAGE=de" >&2; exit 1; }
	@mkdir -p $(TRANSLATIONS)
	$(VENV)/bin/pyside6-lupdate $(PANEL) -ts $(TRANSLATIONS)/penumbra_$(LANGUAGE).ts
	$(VENV)/bin/pyside6-lrelease $(TRANSLATIONS)/penumbra_$(LANGUAGE).ts

clean:
	rm -rf $(VENV) build demo *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
