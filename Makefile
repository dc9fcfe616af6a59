# Every target sets up .venv by itself, once; it is set up anew when the dependencies change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep -m1 '^torch==' constraints.txt)
SCALES := 50k,100k,200k,400k,530k
# A worker a core takes file after file, the longest first (tests/conftest.py sorts them).
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format constraints assets clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## make .venv with the pinned dependencies

# torch goes in first, with pip: the pin then takes a CPU build where one is offered and the CUDA build elsewhere.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$(TORCH)" uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev,slurm,ray,torchcodec,dashboard,faiss]'
	touch $@

demo: $(READY)  ## the whole scaling study on the demo world: table, figures, page under runs/
	$(BIN)/python train.py -m data.scale=$(SCALES)

test: $(READY)  ## the whole test suite, a worker a core
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: $(READY)  ## the tests that take seconds
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)  ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

constraints: $(READY)  ## write constraints.txt anew from what is installed
	$(BIN)/uv pip freeze --python $(BIN)/python --exclude-editable > constraints.new
	grep -Ev '^(nvidia-|cuda-|triton)' constraints.new | sed -E 's/^(torch==[^+]*)\+.*/\1/' > constraints.txt
	rm constraints.new

assets: $(READY)  ## pretrain the demo's vision tower and language model anew (about 15 CPU minutes)
	$(BIN)/python -m sg.demo.pretrain

clean:  ## remove what runs have made (not .venv)
	rm -rf work runs wandb
