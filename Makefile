# `make loop` and `make test` are all a new machine needs: each sets up the virtual environment by itself.
VENV   := .venv
# The first Python from 3.11 to 3.13 that there is and runs; `make PYTHON=…` names another.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$name && break; done)
BIN    := $(VENV)/bin
STORE  ?= data/forge.duckdb
PROMPTS ?= data/prompts/starter.csv
READY  := $(VENV)/.ready
# One worker more than there are cores, for tests wait for processes and servers; what they start finds compiled modules.
WORKERS = $(shell $(BIN)/python -c 'import os; print(min(4, 1 + len(os.sched_getaffinity(0))))' 2>/dev/null || echo 2)
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
LAB_SETTINGS = $(VENV)/share/jupyter/lab/settings/overrides.json
KERNEL_SETTINGS = $(VENV)/etc/ipython/ipython_kernel_config.json
MLFLOW_DB = $(abspath $(dir $(STORE)))/mlflow.db

# Nothing calls home.
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = 1
export RAY_USAGE_STATS_ENABLED = 0
export HF_HUB_DISABLE_TELEMETRY = 1
export HF_HUB_OFFLINE ?= 1
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION ?= false

.PHONY: help loop test check ratios test-browser soak lab ui tour clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

loop: $(READY)  ## draw, judge and refine PROMPTS (data/prompts/starter.csv); the executed notebook goes to experiments/loop/
	mkdir -p experiments/loop $(dir $(STORE))
	$(BIN)/papermill notebooks/02_loop.ipynb experiments/loop/02_loop.ipynb --kernel python3 --no-progress-bar \
		--log-level WARNING --stdout-file /dev/stdout -p store $(STORE) -p prompts $(PROMPTS)
	@for arm in first-look first-look/control; do $(BIN)/forgekit adherence --store $(STORE) --experiment $$arm; done
	@echo "Read experiments/loop/02_loop.ipynb (make lab), or look at the runs in MLflow (make ui)."

test: $(READY)  ## the whole suite
	$(PYTEST)

check: $(READY)  ## lint, format, types, then the whole suite
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST)

ratios: $(READY)  ## what the stages cost beside the bare libraries, and how fast everything starts
	$(BIN)/python benchmarks/ratios.py

test-browser: $(VENV)/.browser  ## what a person sees in MLflow and JupyterLab (needs Debian's chromium)
	$(BIN)/python -m pytest tests/browser

soak: $(READY)  ## kill everything at random, then eight processes for five minutes (SOAK="--kills 20 --minutes 1" for less)
	$(BIN)/python benchmarks/soak.py $(SOAK)

lab: $(READY)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=. --ip=127.0.0.1

ui: $(READY)  ## the MLflow UI on this project's store
	-@test ! -f $(STORE) || $(BIN)/forgekit track --store $(STORE)  # says where to look
	$(BIN)/mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///$(MLFLOW_DB)

tour: $(READY)  ## execute notebooks/00_tour.ipynb on a new store and keep its pictures
	rm -rf data/tour && mkdir -p data/tour
	$(BIN)/jupyter execute --inplace --kernel_name=python3 notebooks/00_tour.ipynb

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "forgekit needs Python 3.11, 3.12 or 3.13, and none of them is on PATH:" \
		"install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[lab,test,ray]'
	-$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib  # pip does it on one core; some packages hold files that do not compile
	mkdir -p $(dir $(LAB_SETTINGS) $(KERNEL_SETTINGS))
	echo '{"IPKernelApp": {"log_level": 40}}' > $(KERNEL_SETTINGS)  # each kernel would warn that it speaks plainly to this machine
	echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' > $(LAB_SETTINGS)
	touch $@

$(VENV)/.browser: $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[browser]'
	touch $@

clean:  ## everything that `make` made; the store in data/ stays
	rm -rf $(VENV) build *.egg-info
