# Every target that needs .venv creates it, and updates it when pyproject.toml or constraints.txt changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep -m1 '^torch==' constraints.txt)
EXTRAS := dev,hf,slurm,ray,torchcodec,dashboard,faiss,s3
SCALES := 50k,100k,200k,400k,530k
# One worker per core runs one file after the other, longest files first (tests/conftest.py sorts them).
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint format constraints assets clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## create .venv with the pinned dependencies

# pip installs torch first: with this pin it takes a CPU build where the index offers one, and the CUDA build elsewhere.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.11"'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "$(TORCH)" uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

demo: $(READY)  ## run the whole scaling study on the demo world: table, figures and page under runs/
	$(BIN)/python train.py -m data.scale=$(SCALES)

test: $(READY)  ## run all tests that this machine can run; the end lists the tests that it cannot
	$(BIN)/python -m pytest $(PARALLEL)

test-fast: $(READY)  ## run the tests that take seconds
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

lint: $(READY)  ## run ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)  ## let ruff fix and format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

constraints: $(READY)  ## write constraints.txt from the installed versions
	$(BIN)/uv pip freeze --python $(BIN)/python --exclude-editable > constraints.new
	grep -Ev '^(nvidia-|cuda-|triton)' constraints.new | sed -E 's/^(torch==[^+]*)\+.*/\1/' > constraints.txt
	rm constraints.new

assets: $(READY)  ## pretrain the demo's vision tower and language models again (about 20 CPU minutes)
	$(BIN)/python -m sg.demo.pretrain

clean:  ## remove the output of runs and builds (not .venv)
	rm -rf work runs wandb build dist
