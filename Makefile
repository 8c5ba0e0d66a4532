# `make run` and `make test` are all a fresh machine needs: Python 3.11, git, make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# The rules call `python` and `snakemake` by name; DVC must not send anything anywhere.
export PATH := $(abspath $(BIN)):$(PATH)
export DVC_NO_ANALYTICS := 1
export PYTHONHASHSEED := 0
# Where Python may not keep what it has compiled, each start of a stage and of a process of pytest compiles it again.
unexport PYTHONDONTWRITEBYTECODE
# Bars with the time that is left are for people.
PIP := $(BIN)/python -m pip install --disable-pip-version-check $(if $(MAKE_TERMOUT),,--quiet)

.PHONY: setup run search field test quick bench check format deps docs clean

setup: .venv/ready .venv/plots.html

.venv/ready: envs/requirements.txt pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "error: $(PYTHON) is not Python 3.11; install it, or run make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "installing about 6 GB of packages into .venv: minutes, most of them for the download"
	$(PIP) --no-compile -r envs/requirements.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@# pip compiles on one core; templates for other Pythons among the packages do not compile, and need not
	@$(BIN)/python -m compileall -q -q -j 0 .venv/lib >/dev/null 2>&1 || true
	touch .venv/ready

# DVC's own page loads Vega from another host; this one holds it.
.venv/plots.html: .venv/ready .dvc/page.html pipeline/reporting/vega.py
	$(BIN)/python -m pipeline.stages.vega --template .dvc/page.html --page $@
	$(BIN)/dvc config --local plots.html_template ../$@

run: setup
	snakemake --cores all
	@cat results/*/table.txt
	@for page in results/*/report.html; do echo "report: $$page"; done

# The indexes of all runs, then the page that searches them: make search ARGS="--port 9000".
search: setup
	snakemake --cores all indexes
	python -m pipeline.stages.serve --open $(ARGS)

# All methods on the embedded dataset; stop it and go on with the same command.
field: setup
	snakemake --snakefile Snakefile --directory field --cores all
	@cat field/results/*/table.txt

# More words for pytest: make test ARGS=--durations=30.
test: setup
	python -m pytest $(ARGS)

# All but the workflow as processes, the browser, the kills and what takes long: three minutes.
quick: setup
	python -m pytest -n $(shell getconf _NPROCESSORS_ONLN) -m "not cluster and not workflow and not browser and not kills and not long" $(ARGS)

bench: setup
	python -m benchmarks.step $(ARGS)

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

# The code that DVC's stages hang on, as the imports say it.
deps: setup
	python -m pipeline.stages.dvc deps

# The pages that follow from the code, and what follows from the records in benchmarks/results.
docs: setup
	python -m pipeline.stages.tables
	snakemake --rulegraph | python -m pipeline.stages.rulegraph --picture docs/workflow.svg
	python -m pipeline.stages.configuration --page docs/configuration.md --schema docs/params.schema.json
	python -m pipeline.stages.methods --page docs/methods.md
	python -m pipeline.stages.backbones --page docs/backbones.md

clean:
	rm -rf data work runs indexes results metrics dvc_plots logs .snakemake field/data field/work field/runs field/results field/metrics field/logs field/.snakemake
