# Needs Python 3.11+, git and make. uv is taken from PATH, else installed under build/tools.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
TOOLS := $(CURDIR)/build/tools
UV := $(shell command -v uv || echo $(TOOLS)/bin/uv)
DEMO := build/demo
# For commits in what these targets make; a fresh machine has no name set.
WHO := GIT_AUTHOR_NAME=demo GIT_AUTHOR_EMAIL=demo@example.com GIT_COMMITTER_NAME=demo GIT_COMMITTER_EMAIL=demo@example.com
# Answers other than the defaults, for example ANSWERS="-d triggers=[new_data] -d project_slug=churn".
ANSWERS ?=
# The version that `make release` makes.
VERSION ?=
# Options of `poe local`, for example LOCAL=--keep.
LOCAL ?=

# Tests wait for processes as much as they work: one of pytest for each core takes the next file of them.
AT_ONCE := uv run --quiet pytest --numprocesses auto --dist loadfile

# Last on PATH: what the user has comes first, and what these targets start finds uv too.
export PATH := $(PATH):$(TOOLS)/bin
# A shell's active environment is not the one of the projects here.
unexport VIRTUAL_ENV UV_PROJECT_ENVIRONMENT

.PHONY: help demo test-fast test test-all check docs bench pins questions operations release clean

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(TOOLS)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=…")'
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

demo: $(UV) ## Make a project with default answers in build/demo and run its whole life (ANSWERS="-d key=value …")
	@if [ -d $(DEMO)/.local/aws ]; then uvx --quiet --from ./local_aws local-aws stop --data-dir $(DEMO)/.local/aws; fi
	rm -rf $(DEMO)
	$(WHO) uv run --quiet --no-dev copier copy --defaults --quiet --vcs-ref=HEAD $(ANSWERS) "$(CURDIR)" $(DEMO)
	cd $(DEMO) && uv lock --quiet $$(sed 's/^/-P /' tested-versions.txt) && uv sync --quiet
	cd $(DEMO) && git init --quiet && git add --all
	cd $(DEMO) && $(WHO) git commit --quiet --message "Start from Kakehashi"
	cd $(DEMO) && uv run poe local $(LOCAL)

test-fast: $(UV) ## The inner loop: tests that take no project's life, under 30 seconds on two cores
	uv run --quiet pytest -m "not wide and not slow and not exhaustive"

test: check ## What has to pass before a change lands (under 25 minutes on two cores)
	$(AT_ONCE) -m "not exhaustive"
	cd local_aws && $(AT_ONCE) -m "not exhaustive"

test-all: check ## Everything: a hundred combinations of answers by chance, life killed at every stage
	$(AT_ONCE)
	cd local_aws && $(AT_ONCE)

check: $(UV) ## Format, lint and types of this repository and of local_aws
	uv run --quiet ruff format --check
	uv run --quiet ruff check
	uv run --quiet mypy
	cd local_aws && uv run --quiet ruff format --check && uv run --quiet ruff check && uv run --quiet mypy

docs: $(UV) ## Check the links and the commands in every Markdown file, those of generated projects too
	uv run --quiet pytest tests/test_docs.py

bench: $(UV) ## Measure, and write benchmarks/results.md
	uv run --quiet python -m benchmarks

questions: $(UV) ## Write cookiecutter.json, the questions of copier.yml for Cookiecutter
	uv run --quiet python -m tools.cookiecutter

operations: $(UV) ## Write what local_aws's README and docs say of its code: operations, rooms, patches
	cd local_aws && uv run --quiet python -m local_aws.cli.catalogue README.md docs/mwaa.md
	cd local_aws && uv run --quiet python -m local_aws.documentation docs

pins: $(UV) ## Move all pins, and what projects start with, to the newest versions
	uv run --quiet python -m tools.pins

release: $(UV) ## Write, commit and tag a version (VERSION=0.2.0); CONTRIBUTING.md tells the rest
	uv run --quiet python -m tools.release make "$(VERSION)"

clean: ## Remove all that these targets have made
	rm -rf build .venv uv.lock local_aws/.venv local_aws/uv.lock
