# `make demo` and `make test` need Python 3.11 or newer and make, and nothing else: they make .venv themselves,
# and again only when pyproject.toml changes. PYTHON=… chooses the interpreter, ARGS=… goes to the command.
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench deb clean

help:  ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile

demo: .venv/.demo  ## Watch the real daemon at work on a small simulated sync system
	@.venv/bin/python -m notifyd demo $(ARGS)

test: .venv/.dev  ## Run every test and linter (one file: make test ARGS=tests/core/test_detect.py)
	@.venv/bin/python -m pytest -n 2 --dist worksteal $(ARGS)

lint: .venv/.dev  ## Run the linters alone
	@.venv/bin/python -m ruff check
	@.venv/bin/python -m ruff format --check
	@.venv/bin/python -m mypy
	@.venv/bin/lint-imports --no-logo

bench: .venv/.dev  ## Measure; tests/bench/README.md has the figures
	@set -e; for bench in tests/bench/bench_*.py; do .venv/bin/python "$$bench" $(ARGS); done

deb: .venv/.demo  ## Build a Debian package for this machine in dist; systemd/README.md installs it
	@sh systemd/deb/build

clean:  ## Remove what make made
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# What the tests need covers what the demo needs
.venv/.demo: pyproject.toml
	@test .venv/.dev -nt pyproject.toml || sh .ci/venv demo

.venv/.dev: pyproject.toml
	@sh .ci/venv dev
