# `make loop` and `make test` are all a new machine needs: each sets up the virtual environment by itself.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STORE  ?= data/forge.duckdb
READY  := $(VENV)/.ready

# Nothing calls home, and two threads do not fight over two cores.
export MLFLOW_DISABLE_TELEMETRY = true
export DO_NOT_TRACK = 1
export HF_HUB_DISABLE_TELEMETRY = 1
export HF_HUB_OFFLINE ?= 1

.PHONY: loop test check lab ui clean

loop: $(READY)  ## the whole loop on data/prompts/starter.csv, into experiments/loop/
	$(BIN)/python -m forgekit.cli loop --store $(STORE)

test: $(READY)  ## the whole suite
	$(BIN)/python -m pytest

check: $(READY)  ## lint, format, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

lab: $(READY)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=.

ui: $(READY)  ## the MLflow UI on this project's store
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/data/mlflow.db

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[lab,test]'
	touch $@

clean:  ## everything that `make` made; the store in data/ stays
	rm -rf $(VENV) build *.egg-info
