# What can be done with Darkroom. `make run` is all you need to try it.
.PHONY: help run test check bench install-run install-dev
.DEFAULT_GOAL := help
PYTHON_BIN := .venv/bin/python
# Python keeps what it has compiled: the second start is quicker, and tests start dozens of processes.
export PYTHONDONTWRITEBYTECODE =

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1: \2/p' Makefile

run: install-run ## start: on Discord with DISCORD_TOKEN in .env, else in the sandbox, and print its address
	@exec $(PYTHON_BIN) -m scripts.start

# Many tests wait for the processes that they start: one more than cores.
test: install-dev ## all tests; ends with the ten slowest
	@$(PYTHON_BIN) -m pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses 4 --dist worksteal

check: install-dev ## format, lint, types, and the rules about the code itself
	@$(PYTHON_BIN) -m ruff format --check --quiet . || { echo 'To fix the format: $(PYTHON_BIN) -m ruff format .'; exit 1; }
	@$(PYTHON_BIN) -m ruff check .
	@$(PYTHON_BIN) -m mypy
	@$(PYTHON_BIN) -m pytest -q -n 2 tests/meta

bench: install-dev ## every benchmark at its default size: a table, then a line of JSON
	@missed=0; for name in $(patsubst benchmarks/%.py,%,$(wildcard benchmarks/[a-z]*.py)); do \
		echo "== $$name"; $(PYTHON_BIN) -m "benchmarks.$$name" || missed=1; done; exit $$missed

install-run:
	@scripts/install.sh bot worker

install-dev:
	@scripts/install.sh bot worker dev
