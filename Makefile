# `make demo` and `make test` need Python 3.11 or later, gcc and make; they set everything else up in .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test check lint types imports fast golden fuzz conformance bench clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.run  ## quantize a trained digits classifier and show what it costs
	$(BIN)/python demo/run.py

test: .venv/.dev lint types imports  ## everything: linters, types, layers, all tests, a minute of fuzzing
	$(BIN)/python -m pytest -q -n 2
	$(BIN)/python -m tests.fuzz.run --seconds 15

check: .venv/.dev lint types imports fast  ## the loop while working: under two minutes

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.dev
	$(BIN)/mypy

imports: .venv/.dev
	$(BIN)/lint-imports

fast: .venv/.dev
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

golden: .venv/.dev  ## rewrite every golden file; the diff is the review
	$(BIN)/python -m pytest -q --update tests

fuzz: .venv/.dev  ## look for inputs that bring a reader down (twenty minutes)
	$(BIN)/python -m tests.fuzz.run --seconds 300

conformance:  ## real models out of packages, and AIMET itself beside us, in environments of their own (minutes)
	$(PYTHON) tests/conformance/run.py
	$(PYTHON) tests/conformance/modules/run.py
	$(PYTHON) tests/conformance/aimet/run.py
	$(PYTHON) tests/conformance/formats/run.py

bench:  ## time and memory, qsimc's and other tools', into bench/README.md (hours)
	$(PYTHON) bench/run.py

clean:  ## remove what make made
	rm -rf .venv demo/out .conformance .bench

# Two stamps, so that the demo does not wait for torch.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml constraints.txt hatch_build.py $(wildcard qsimc/native/*.c)
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) --editable ".[onnx]"
	@touch $@

# torch comes alone and at one exact version first: a range would bring the newest build and its CUDA packages.
.venv/.dev: .venv/.run
	$(PIP) torch==2.13.0
	$(PIP) --editable ".[all]" --group dev
	@touch $@
