# The verbs of this project; `make help` lists them. Everything runs in .venv, which the first one makes.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: demo dev test soak check bench growth format help

$(STAMP): pyproject.toml
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (about half a minute) …"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(STAMP)

demo: $(STAMP) ## Do the whole job on the sample org and the embedded PostgreSQL
	@$(VENV)/bin/monarch demo

dev: $(STAMP) ## Open the Dagster UI on http://127.0.0.1:3000
	@$(VENV)/bin/monarch dev

test: $(STAMP) ## Run the tests (a few minutes)
	@$(VENV)/bin/python -m pytest -q -n 2 --dist worksteal

soak: $(STAMP) ## Run the long experiments too
	@$(VENV)/bin/python -m pytest -q -n 2 --dist worksteal -m soak

check: $(STAMP) ## Lint, formatting and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

bench: $(STAMP) ## Measure
	@$(VENV)/bin/python -m benchmarks
	@$(VENV)/bin/python -m benchmarks.fetching
	@$(VENV)/bin/python -m benchmarks.commands

growth: $(STAMP) ## Measure how the seconds grow with the org, and draw it (half an hour)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@$(VENV)/bin/python -m benchmarks.growth

format: $(STAMP) ## Format the code
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
