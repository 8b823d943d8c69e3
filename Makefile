# `make demo`, `make test` and `make dev` each work alone from a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests of a file share what they set up. Their order: tests/conftest.py.
PARALLEL := --dist loadfile --no-loadscope-reorder --numprocesses
# The table of `make checks`.
SUMMARY := checks.md
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
# What builds images, unless named.
ENGINE ?= $(firstword $(notdir $(foreach engine,buildah podman docker,$(shell command -v $(engine)))) docker)
SAMPLE := $(or $(TICKETS_DATA_DIR),data)/sample
export PYTHONUNBUFFERED := 1
# The tests start the product hundreds of times: its modules are compiled once.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo dev test check checks crash torture validate bench weights explore exploration dashboards secrets image pin lint clean

help:  ## Show what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.product: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}. Name another: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.tests: $(VENV)/.product
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench,shared]'
	@touch $@

$(VENV)/.bench: $(VENV)/.product
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

$(VENV)/.notebook: $(VENV)/.product
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[notebook]'
	@touch $@

install: $(VENV)/.product  ## Make the environment and install the product

# Written once: tomorrow's sample would be another mailbox, landed on top of today's.
$(SAMPLE)/mailbox.mbox: | $(VENV)/.product
	$(BIN)/tickets sample $(SAMPLE)

demo: $(SAMPLE)/mailbox.mbox  ## Sample mailbox in; tickets, champion model and drift report out
	$(BIN)/tickets import $(SAMPLE)/mailbox.mbox --labels $(SAMPLE)/labels.csv
	$(BIN)/tickets run

dev: $(VENV)/.product  ## Dagster's UI and daemon on http://127.0.0.1:3000
	$(BIN)/tickets dev

# One worker more than there are cores: one mostly waits for Dagster's daemon.
test: $(VENV)/.tests  ## The whole test suite
	$(BIN)/python -m pytest $(PARALLEL) $$(($$(getconf _NPROCESSORS_ONLN) + 1))

check: $(VENV)/.tests  ## The quick part of the test suite
	$(BIN)/python -m pytest $(PARALLEL) auto -m 'not slow'

validate: $(VENV)/.product  ## Load the graph as Dagster does
	$(BIN)/dagster definitions validate --workspace workspace.yaml

checks: $(VENV)/.product  ## Every asset check on a sample mailbox; the table in checks.md
	$(BIN)/tickets checks --summary $(SUMMARY)

crash: $(VENV)/.tests  ## 200 kills and interruptions of runs on the demo's mailbox (hours)
	CRASH_CHAINS=34 CRASH_MESSAGES=3000 CRASH_DAYS=60 CRASH_TIMEOUT=0 $(BIN)/python -m pytest tests/orchestration/test_signalled_runs.py

# SHORT=1: one fault of most kinds, as in the tests. SEED=17: this one again; "SEED=17 18": both.
torture: $(VENV)/.tests  ## 200 faults on a desk, each followed by its repair (an hour)
	$(BIN)/python -m tests.torture $(if $(SHORT),--short) $(if $(SEED),--seeds $(SEED))

bench: $(VENV)/.bench  ## Speed, memory and quality beside the usual tools (about an hour)
	$(BIN)/python -m benchmarks $(ARGS)

weights: $(VENV)/.product  ## Learn the packaged models of secrets and of tickets from training/ anew (an hour)
	$(BIN)/python -m training.ticket_encoder
	$(BIN)/python -m training.said_secrets
	$(BIN)/python -m training.secrets_in_context

explore: $(VENV)/.notebook  ## Look at the desk's mail in a browser: notebooks/exploration.ipynb
	$(BIN)/jupyter lab notebooks/exploration.ipynb

exploration: $(VENV)/.notebook  ## Its page in docs/, of the demo
	$(BIN)/jupyter nbconvert --execute --to markdown --no-input --output-dir docs notebooks/exploration.ipynb

dashboards: $(VENV)/.tests  ## The dashboards of Grafana, of monitoring/panels.yml
	$(BIN)/python -m monitoring.dashboards

secrets:  ## Passwords of docker-compose.yml, in compose/secrets; .env names the folder
	compose/new-secrets ./compose/secrets

image:  ## The image of all roles, by buildah, podman or Docker: docs/image.md
	$(ENGINE) build $(IMAGE_ARGS) --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) --tag ticket-assets:$(VERSION) .

# A person runs it, where the registries can be reached; it needs skopeo.
pin:  ## Write the digests of the images that others make beside their tags
	$(PYTHON) image/pin.py Dockerfile docker-compose.yml helm/ticket-assets/values.yaml

lint: $(VENV)/.tests  ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## Remove the environment; mail, models and reports under data/ stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
