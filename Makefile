# `make run` and `make test` are all a fresh machine needs: Python 3.11, git, make.
PYTHON ?= python3.11
BIN := .venv/bin
# The rules call `python` and `snakemake` by name; DVC must not send anything anywhere.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export PYTHONHASHSEED := 0

.PHONY: setup run test check format clean

setup: .venv/ready

.venv/ready: envs/requirements.txt pyproject.toml
	@command -v $(PYTHON) > /dev/null || { echo "error: $(PYTHON) is not here; install Python 3.11 or run make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch .venv/ready

run: setup
	snakemake --cores all
	@cat results/*/table.txt
	@for page in results/*/report.html; do echo "report: $$page"; done

test: setup
	python -m pytest

check: setup
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile pipeline/rules
	snakemake --lint

format: setup
	ruff check --fix .
	ruff format .
	snakefmt Snakefile pipeline/rules

clean:
	rm -rf data work runs results logs .snakemake
