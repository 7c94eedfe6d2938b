# Everything from a fresh clone, on a machine with Python (>= 3.11) and make alone.
#   make report           the main job: measures how gradients flow and writes a page; PRESET=standard, full for more
#   make test [PEERS=1]   lint and all tests; PEERS=1 also compares with torch and Keras, live
#   make test-slow        the long runs that `make test` leaves out
#   make fuzz             twenty times the fuzzed cases of `make test`, drawn anew: for the night
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
OUT    ?= runs/gradient_norms
PRESET ?= quick
ARGS   ?=
comma  := ,
EXTRAS := test$(if $(PEERS),$(comma)peers)

# A stamp file for each set of extras: made again only when pyproject.toml changes.
BASE_STAMP := $(VENV)/.installed-report-data
TEST_STAMP := $(VENV)/.installed-test$(if $(PEERS),-peers)

.DEFAULT_GOAL := help
.PHONY: help report test test-slow fuzz lint format clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

report: $(BASE_STAMP)
	$(PY) -m benchmarks.gradient_norms --preset=$(PRESET) --out=$(OUT) $(ARGS)

test: lint
	$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

fuzz: $(TEST_STAMP)
	$(PY) -m pytest tests/fuzz -n 2 --dist worksteal --hypothesis-profile=nightly $(ARGS)

test-slow: $(TEST_STAMP)
	$(PY) -m pytest -m slow $(ARGS)

lint: $(TEST_STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(TEST_STAMP)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "recur needs Python >= 3.11; '$(PYTHON)' is older: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(BASE_STAMP): $(PY) pyproject.toml
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[report,data]'
	@touch $@

$(TEST_STAMP): $(PY) pyproject.toml
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@ $(BASE_STAMP)

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache *.egg-info
