# Every target sets up what it needs by itself; nothing outside this folder is written but the caches of pip and uv.
# PYTHON=python3.12 make setup    uses another interpreter (3.11 or newer).

SHELL := /bin/bash
PYTHON ?= python3
export PYTHON

# Runs a command with .venv on its PATH, a home of its own and nothing of the caller's environment.
RUN := tests/tools/run.sh
PYTEST := $(RUN) python -m pytest

# The steps of `make test`: each is a target below. Two run at a time: the longest, and beside it the others in turn.
STEPS := integration ruff mypy yamllint unit sanity thorough model ansible-lint docs-lint conformance package

# What `make matrix` runs: the oldest and the newest ansible-core that are supported, CORE:PYTHON[,PYTHON].
MATRIX := 2.18:3.11 2.21:3.13,3.12

.PHONY: help setup demo demo-drill eda report-look test matrix freeze lint bench docs changelog release-check clean $(STEPS)
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and .build (does nothing when they are up to date)
	@[[ -n "$$SETUP_DONE" ]] || tests/tools/setup.sh

demo: setup ## show the collection at work against the local emulator
	@$(RUN) python -m tests.demo.run

demo-drill: setup ## rehearse a failover on the local emulator, with its report in .build/drill
	@$(RUN) python -m tests.demo.drill

test: setup ## everything that CI runs: all tests and all conventions
	@.venv/bin/python tests/tools/steps.py $(STEPS)

matrix: ## make test with the oldest and the newest ansible-core, in copies
	@tests/tools/matrix.sh $(MATRIX)

unit: setup ## unit tests, the quick ones: the inner loop
	@$(PYTEST) -n 3 --dist worksteal -m "not thorough" tests/unit

thorough: setup ## the other unit tests: fault matrix, hostile answers, and all that waits
	@$(PYTEST) -n 4 --dist worksteal -m thorough tests/unit

model: setup ## 300 random histories; MODEL_EXAMPLES=20000 make model runs more
	@$(PYTEST) -n 2 tests/model

freeze: setup ## what all runs report and send, against the recording; RECORD=1 writes it
ifeq ($(RECORD),new)
	@$(RUN) env PYTHONPATH=.build/link python -m tests.freeze.draw
endif
	@$(PYTEST) -n 2 --freeze=$(if $(RECORD),record,all) tests/freeze tests/unit/plugins/test_fault_matrix.py tests/unit/plugins/test_hostile_answers.py

conformance: setup ## the official SDK against the emulator and our signatures
	@$(PYTEST) tests/conformance

integration: setup ## playbooks against the emulator with real PostgreSQL
	@$(PYTEST) -n 2 --dist loadfile tests/integration

eda: setup ## run a rulebook with ansible-rulebook, from a broken link to verify (needs Java)
	@$(RUN) tests/eda/run.sh

report-look: setup ## render a sample report wide, narrow and printed, to look at (needs chromium)
	@$(RUN) tests/demo/report_look.sh

bench: setup ## measure how fast it is
	@$(PYTEST) -o faulthandler_timeout=0 -s tests/benchmarks

lint: ruff mypy yamllint ansible-lint ## ruff, mypy, yamllint and ansible-lint

ruff: setup ## style of the Python code
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .

mypy: setup ## types of plugins/module_utils
	@$(RUN) mypy

yamllint: setup ## style of the YAML files
	@$(RUN) yamllint --strict .

# On a copy without the action plugins: the rule args[module] passes over a module that has one of the same name.
ansible-lint: setup ## roles and playbooks
	@$(RUN) tests/tools/stage.sh .build/lint/ansible_collections/alicloud/rds
	@rm -r .build/lint/ansible_collections/alicloud/rds/plugins/action
	@$(RUN) env ANSIBLE_COLLECTIONS_PATH="$(CURDIR)/.build/lint:$(CURDIR)/.build/collections" ansible-lint

docs-lint: setup ## documentation of the plugins, and the changelog
	@$(RUN) antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs all .
	@$(RUN) antsibull-changelog lint

sanity: setup ## ansible-test sanity on what is shipped; ALL=1 adds the tests
	@$(RUN) tests/tools/sanity.sh $(ALL)

package: setup ## build the collection, install it, pass it through galaxy-importer; the same for the emulator's wheel
	@$(RUN) tests/tools/package.sh
	@$(RUN) tests/tools/wheel.sh

docs: setup ## the documentation as a site in .build/docs/html
	@$(RUN) tests/tools/docs.sh

changelog: setup ## turn the fragments into the changelog of galaxy.yml's version
	@$(RUN) antsibull-changelog release --update-existing

release-check: setup ## all that a release has to hold; STRICT=1 also wants a clean tree and the tag
	@$(RUN) tests/tools/package.sh --release
	@$(RUN) env STRICT=$(STRICT) python -m pytest tests/release

clean: ## remove all that make has made
	@rm -rf .venv .build .ansible .ruff_cache .mypy_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +
