# `make demo` and `make test` are all a fresh machine needs; each prepares its own environment first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check prove bench golden requirements clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(READY): .ci/requirements.txt .ci/environment pyproject.toml
	@bash .ci/environment "$(PYTHON)"
	@touch $(READY)

demo: $(READY)  ## replay a shipped trace against the embedded simulator and judge it
	@$(BIN)/harness demo

test: $(READY)  ## the test-suite (installs the Debian packages it needs, when root)
	@bash .ci/debian
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not alone" tests
	@$(BIN)/python -m pytest -m alone tests

check: $(READY)  ## linter, formatter and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

prove: $(READY)  ## what is too long for CI; stores its evidence under docs/evidence/
	@bash .ci/debian
	@$(BIN)/python -m pytest -q tests/prove

bench: $(READY)  ## attempts per CPU-second, beside stock Locust in the same run
	@$(BIN)/harness bench

golden: $(READY)  ## rewrite the golden files; review the diff
	@$(BIN)/python -m pytest tests/golden --rewrite-golden

requirements: $(READY)  ## pin the dependencies anew, with hashes
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-header --quiet --upgrade -o .ci/requirements.txt

clean:  ## remove the environment and everything generated
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache dist
