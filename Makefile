# Two commands: `make demo` and `make test`. Each sets up what it needs in .venv. `make test FAST=1`
# leaves out the slow quarter. `make bench` measures; its options are given as in
# `make bench ARGS="--quick --full-size"`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint format clean

demo: $(VENV)/installed
	$(BIN)/python -m demo_model.show

test: $(VENV)/installed-tests lint
	$(BIN)/python -m animate_anyone download --pose blazepose --weights build/pose_weights
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder \
		$(if $(FAST),-m "not slow")

bench: $(VENV)/installed-tests
	$(BIN)/python -m benchmarks.bench $(ARGS)

lint: $(VENV)/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --no-error-summary

format: $(VENV)/installed-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build

# torch comes first and alone, so that no other package's wish decides which build is taken.
$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' requirements.txt)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-tests: $(VENV)/installed tests/requirements.txt tests/requirements-alone.txt
	$(BIN)/python -m pip install --quiet -r tests/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -r tests/requirements-alone.txt
	touch $@
