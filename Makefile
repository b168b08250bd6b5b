# `make demo` and `make test` are all a fresh machine needs; each prepares its own environment first.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
COMPILED := build/.compiled

# Tests that put fakes in place of the engine's parts read the sources; all others meet the product as it is used.
SOURCES_ALONE := tests/unit tests/golden tests/contract
WHOLE_PRODUCT := tests/property tests/system tests/bench

.DEFAULT_GOAL := help
.PHONY: help demo test check prove bench golden compile interpret requirements clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(READY): .ci/requirements.txt .ci/environment pyproject.toml
	@bash .ci/environment "$(PYTHON)"
	@touch $(READY)

# Python sources that may be compiled; the script itself knows which are, and whether they changed.
$(COMPILED): $(READY) .ci/compile.py $(wildcard harness/*.py harness/wire/*.py harness/plan/*.py harness/visitor/*.py harness/measure/*.py harness/sim/*.py harness/engine/*.py harness/fleet/*.py)
	@$(BIN)/python .ci/compile.py
	@mkdir -p build && touch $(COMPILED)

compile: $(COMPILED)  ## the engine's hot path as C, where there is a compiler (the targets that load do it themselves)

interpret: $(READY)  ## take the compiled modules away again
	@$(BIN)/python .ci/compile.py --remove
	@rm -f $(COMPILED)

demo: $(COMPILED)  ## replay a shipped trace against the embedded simulator and judge it
	@$(BIN)/harness demo

test: $(READY)  ## the test-suite (installs the Debian packages it needs, when root)
	@bash .ci/debian
	@$(MAKE) --no-print-directory interpret
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not alone" $(SOURCES_ALONE)
	@$(MAKE) --no-print-directory compile
	@$(BIN)/python -m pytest -n 3 --dist loadgroup -m "not alone" $(WHOLE_PRODUCT)
	@$(BIN)/python -m pytest -m alone tests

check: $(READY)  ## linter, formatter and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

prove: $(COMPILED)  ## what is too long for CI; stores its evidence under docs/evidence/
	@bash .ci/debian
	@$(BIN)/python -m pytest -q tests/prove

bench: $(COMPILED)  ## attempts per CPU-second, beside stock Locust in the same run
	@$(BIN)/harness bench

golden: $(READY)  ## rewrite the golden files; review the diff
	@$(BIN)/python -m pytest tests/golden --rewrite-golden

requirements: $(READY)  ## pin the dependencies anew, with hashes
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-header --quiet --upgrade -o .ci/requirements.txt

clean:  ## remove the environment and everything generated
	@$(MAKE) --no-print-directory interpret
	@rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache dist
