# Needs git, make and Python 3.11. Everything else is set up by the first target that needs it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BOOTSTRAP := .segloop/uv
UV := $(BOOTSTRAP)/bin/uv
READY := .venv/.ready
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export UV_COMPILE_BYTECODE := 1
export MLFLOW_DISABLE_TELEMETRY := true
# Byte code halves the start-up time of the heavy libraries.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status test check lint lock bench browser label-studio clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## Create .venv with every dependency at its locked version

$(UV):
	$(PYTHON) -m venv $(BOOTSTRAP)
	$(BOOTSTRAP)/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"

$(READY): requirements.lock pyproject.toml | $(UV)
	test -x .venv/bin/python || $(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python .venv/bin/python requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --editable .
	touch $@

demo: $(READY) ## Demo data -> validated -> trained -> evaluated -> registered in MLflow, with a table at the end
	dvc repro
	segloop track
	segloop register
	segloop summary

up: $(READY) ## Start MLflow, Airflow, the promoter and the reports on this machine
	segloop up

# These two neither set up anew what runs, nor need a network, where the code has changed since `make up`.
down: $(if $(wildcard .venv/bin/segloop),,$(READY)) ## Stop them all
	segloop down

status: $(if $(wildcard .venv/bin/segloop),,$(READY)) ## What runs, where, and whether it is healthy
	segloop status

lint: $(READY) ## Style, types and the direction of imports
	ruff check
	ruff format --check
	mypy
	lint-imports

check: lint ## The fast part: lint, types, unit tests
	pytest -n 2 -m "not e2e"

browser: ## Chromium for the tests of the dossier's page, from Debian's packages where there is none
	@command -v chromium chromium-browser google-chrome >/dev/null || (apt-get -qq update && apt-get -qq install -y chromium) \
	  >/dev/null || echo "There is no Chromium, and it could not be installed: the tests of the dossier's page are skipped."

test: lint browser ## All tests: lint, types, unit tests and the journeys
	pytest -n 2 --durations 20

label-studio: | $(UV) ## Label Studio in an environment of its own, for the tests of the round trip (850 MB)
	test -x .segloop/label-studio/bin/python || $(UV) venv --quiet --python $(PYTHON) .segloop/label-studio
	$(UV) pip install --quiet --python .segloop/label-studio/bin/python "label-studio==1.23.2"

lock: | $(UV) ## Resolve requirements.lock anew from pyproject.toml
	$(UV) pip compile pyproject.toml --extra dev --python-version 3.11 --no-emit-index-url --no-header \
	  --no-annotate --upgrade --quiet --output-file requirements.lock

bench: $(READY) ## Measure against peers, side by side; writes benchmarks/results (takes an hour; CAMVID=folder)
	python -m benchmarks.confusion_matrix
	python -m benchmarks.training_step
	python -m benchmarks.tiled_inference
	python -m benchmarks.append
	python -m benchmarks.baselines
	python -m benchmarks.agreement
	python -m benchmarks.scale
	python -m benchmarks.release_append
	$(if $(wildcard data/holdout.json),python -m benchmarks.label_check .)
	$(if $(wildcard data/evaluation/confusions.parquet),python -m benchmarks.gate_error_rates demo=data/evaluation/confusions.parquet)
	$(if $(CAMVID),python -m benchmarks.catalog --camvid $(CAMVID))

clean: ## Remove the environment, caches of tools and checkpoints of unfinished trainings
	test ! -x .venv/bin/segloop || segloop down
	rm -rf .venv .segloop .mypy_cache .ruff_cache .pytest_cache
