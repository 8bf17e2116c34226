# Two commands are enough on a fresh machine with Python 3.11: `make train` and `make test`.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help .venv data inspect train rank report bench notebooks check test format clean

export TF_CPP_MIN_LOG_LEVEL ?= 3

PYTHON := $(shell for python in python3.11 python3; do $$python -c '' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
STAMP := .venv/.installed

# A collection of one's own: make train DATA=photos RUN=antelopes [RECIPE=name]
ifdef DATA
MANIFEST := $(DATA)
RECIPE ?= default
RUN ?= $(basename $(notdir $(DATA:/=)))
else
MANIFEST := data/flukes/manifest.csv
RECIPE ?= flukes
RUN ?= flukes
endif

help: ## List the targets
	@awk -F ':.*## ' '/^[.a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  A collection of your own: make train DATA=<folder or manifest.csv> RUN=<name> [RECIPE=<name>]"

.venv: $(STAMP) ## Create the environment in .venv, or bring it up to date

# The stamp makes repeating quick: pip runs only after the requirements changed.
$(STAMP): setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer must be installed. Received: no python3. Install it and run make again." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer must be installed. Received: $$($(PYTHON) --version). Install python3.11 and run make again." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "make: Python must be able to create environments. Received: $$($(PYTHON) --version) without ensurepip. Install it (Debian, Ubuntu: apt-get install python3.11-venv) and run make again." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[data,heic,notebooks,dev]'
	@touch $@

data: $(STAMP) ## Draw the simulated fluke photos into data/flukes
	$(BIN)/python -m data_prep.flukes --out data/flukes

inspect: $(STAMP) ## Look for bad photos, copies and doubtful names: DATA=..., page in runs/RUN/check
	@test -n "$(DATA)" || { echo "make: inspect needs a collection. Received: none. Add DATA=<folder or manifest.csv>." >&2; exit 2; }
	$(BIN)/siamese data check "$(MANIFEST)" --out "runs/$(RUN)/check"

ifdef DATA
train: $(STAMP)
else
train: data
endif
train: ## Train, rank and report: the simulated flukes, or DATA=...
	$(BIN)/siamese train --manifest "$(MANIFEST)" --recipe "$(RECIPE)" --run "runs/$(RUN)"

rank: $(STAMP) ## Rank QUERIES=<photo, folder or manifest> with the model and catalog of RUN
	@test -n "$(QUERIES)" || { echo "make: rank needs photos. Received: none. Add QUERIES=<photo, folder or manifest>." >&2; exit 2; }
	$(BIN)/siamese rank --model "runs/$(RUN)/model" --catalog "runs/$(RUN)/catalog" --queries "$(QUERIES)"

report: $(STAMP) ## Print the numbers of RUN again
	$(BIN)/siamese report --run "runs/$(RUN)"

bench: $(STAMP) ## Measure the speed of this machine
	$(BIN)/siamese bench data
	$(BIN)/siamese bench scoring
	$(BIN)/siamese bench mining
	$(BIN)/siamese bench search
	$(BIN)/siamese bench pipeline
	$(BIN)/siamese bench evaluation

notebooks: $(STAMP) ## Run every notebook from top to bottom
	$(BIN)/python .ci/run_notebooks.py

check: $(STAMP) ## Lint, format, types, layers and docstring examples
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --quiet siamese data_prep

test: $(STAMP) ## Run the tests
	$(BIN)/pytest --quiet

format: $(STAMP) ## Sort imports and format the code
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

clean: ## Remove the environment and caches; data and runs stay
	rm -rf .venv build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
