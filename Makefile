# Everything a developer or CI runs. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test processes: each runs its own Postgres, so more than the cores only take turns.
WORKERS ?= auto
# Data of the benchmarks: small or full.
SCALE ?= small

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: install
install: $(VENV)/.installed ## Make .venv with the locked dependencies

$(VENV)/.installed: requirements.lock pyproject.toml
	@if command -v uv > /dev/null; then \
		{ test -x $(BIN)/python || uv venv --python '>=3.11' $(VENV); } && \
		uv pip install --python $(BIN)/python --require-hashes -r requirements.lock && \
		uv pip install --python $(BIN)/python --no-deps -e .; \
	else \
		{ test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); } && \
		$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock && \
		$(BIN)/python -m pip install --disable-pip-version-check --no-deps -e .; \
	fi
	@touch $@

.PHONY: quickstart
quickstart: install ## Serve on http://localhost:8888 with embedded engines, data in ./data
	$(BIN)/meterhouse serve

.PHONY: test
test: install ## Run the whole test suite on engines of its own
	$(BIN)/pytest -q -n $(WORKERS)

.PHONY: test-kafka
test-kafka: install ## Run the tests on a real Apache Kafka: of METERHOUSE_TEST_KAFKA, else fetched (needs Java and mvn)
	$(BIN)/pytest -q -m kafka tests/faults

.PHONY: check
check: install ## Style, types, floors, house rules, migrations, OpenAPI and README drift
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/lint
	$(BIN)/python -m meterhouse.migrate check
	$(BIN)/meterhouse openapi --check
	$(BIN)/python scripts/settings_table.py --check

.PHONY: format
format: install ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: openapi
openapi: install ## Export openapi/v1.yaml and openapi/v3.yaml from the code
	$(BIN)/meterhouse openapi

.PHONY: docs
docs: install ## Write the table of settings into the README
	$(BIN)/python scripts/settings_table.py

.PHONY: migration
migration: install ## Write a migration for what the models changed: make migration NAME="what it is for"
	@test -n '$(NAME)' || { echo 'usage: make migration NAME="what it is for"' >&2; exit 2; }
	$(BIN)/python -m meterhouse.migrate revision '$(NAME)'

.PHONY: lock
lock: ## Resolve the dependencies of pyproject.toml into requirements.lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --disable-pip-version-check --quiet pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --generate-hashes --all-extras --strip-extras --allow-unsafe --no-annotate \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header \
		--output-file requirements.lock pyproject.toml
	rm -rf $(VENV)-lock

.PHONY: bench
bench: install ## Run every benchmark and print one table of ratios: make bench SCALE=full
	$(BIN)/python benchmarks/run.py --scale $(SCALE)

.PHONY: clean
clean: ## Remove what the tools made; data and .venv stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
