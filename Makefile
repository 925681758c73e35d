# What people type. `make run` and `make test` need git, make and Python 3.11 to 3.13, and nothing else.

PYTHON ?= python3
BIN := .venv/bin
# A test process for each core, up to four, of one thread each.
TESTS := OMP_NUM_THREADS=1 python -m pytest -n auto --maxprocesses 4 --dist worksteal
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: run test test-slow check format lock schema peers browser servers scale screenshots clean
.DEFAULT_GOAL := run

# Exact versions from constraints.txt; the stamp makes this a matter of milliseconds once it is done.
.venv/.installed: pyproject.toml constraints.txt
	@echo "lmmodel: installing into .venv, once; two to five minutes"
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(None if ok else "lmmodel needs Python 3.11 to 3.13, and this is " + sys.version.split()[0] + ": make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@grep -q MLFLOW_DISABLE_TELEMETRY $(BIN)/activate || echo "export MLFLOW_DISABLE_TELEMETRY=true DVC_NO_ANALYTICS=1 DO_NOT_TRACK=1 DAGSTER_DISABLE_TELEMETRY=1" >> $(BIN)/activate
	@touch $@

# Train, fine-tune and evaluate what params.yaml describes, or whatever of it is out of date.
run: .venv/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" lmmodel run

# Lint, format, types and the fast tests.
test: .venv/.installed check
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(TESTS)

# What takes longer: whole pipelines, killed and resumed.
test-slow: .venv/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(TESTS) -m slow

check: .venv/.installed
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python -m pip check

format: .venv/.installed
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# After a change to code: bring the fingerprints in dvc.lock up to date, in seconds.
lock: .venv/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro design

schema: .venv/.installed
	@$(BIN)/python -m pipelines.parameters > docs/params.schema.json

# What `python -m benchmarks.training` is held against, in an environment of its own: litgpt wants an older numpy.
peers: .venv-peers/.installed

# What the tests in a browser take besides Chromium itself; the pictures in docs/ are theirs.
browser: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,browser]'

# What the tests against servers take: one that speaks S3, and one of MLflow, beside Debian's PostgreSQL.
servers: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,servers]'

# What the tests of docs/scale.md take: Dagster's launchers for containers and pods. No daemon, no cluster.
scale: .venv/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,scale]'

screenshots: browser
	@PATH="$(CURDIR)/$(BIN):$$PATH" LMMODEL_SCREENSHOTS=docs python -m pytest -m slow tests/browser

.venv-peers/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)" psutil transformers litgpt x-transformers
	@touch $@

clean:
	@rm -rf .venv .venv-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis
