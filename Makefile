PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: bench test setup lint types readme papers notebooks baseline regression wheel clean

bench: setup  ## measure the default suite here (or what ARGS say); prints where the tables and plots are
	$(BIN)/python run_bench.py $(ARGS)

test: setup  ## the tests, as CI runs them: a file at a time on each processor
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

setup: $(VENV)/.ready  ## make .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

readme: setup  ## rebuild reports and the tables in README.md from results/reference
	$(BIN)/python run_bench.py report results/reference/train-cpu
	$(BIN)/python run_bench.py report results/reference/cpu --readme README.md
	$(BIN)/python run_bench.py report results/reference/cpu --readme docs/then_and_now.md

papers: setup  ## rebuild docs/papers.md from the published figures and the reference runs
	$(BIN)/python run_bench.py papers --rows results/reference/h200/papers --output results/reference/h200/papers \
		--format markdown > docs/papers.md

notebooks: setup  ## run the notebooks again and keep what they show
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

baseline: setup  ## show which static figures differ from bench/regression/baseline.json, and accept them
	$(BIN)/python -m bench.regression.baseline

regression: setup  ## the gate: static figures exactly, and times into results/regression.json
	$(BIN)/python -m pytest bench/regression --benchmark-json=results/regression.json $(ARGS)

wheel: setup
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist *.egg-info
