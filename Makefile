# make run    start a server on loopback with a demo account      make test   style, types, and all that needs no root
# make lint   types and style                                     make bench  our own workloads
# make soak   the long runs                                       make lock   pin the dependencies anew (needs uv)
#
# Everything happens in .venv, which is made from the lock files when it is missing or older than they are. Needed:
# Python 3.11 or newer with its venv module. Another interpreter: make PYTHON=python3.12 run

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all:
WORKERS ?= 2

.PHONY: run test lint bench soak lock clean

run: $(VENV)/.run
	@exec $(BIN)/python cli.py serve --demo

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not soak"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m bench

soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak --timeout 7200

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.run: requirements.lock | $(VENV)/bin/python
	$(PIP) -r requirements.lock
	@touch $@

$(VENV)/.test: requirements-dev.lock | $(VENV)/bin/python
	$(PIP) -r requirements-dev.lock
	@touch $@ $(VENV)/.run

# The check is written for any Python, so that an old one can say what is wrong.
$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	    echo "There is no $(PYTHON). Install Python 3.11 or newer (Debian: apt install python3 python3-venv)," >&2; \
	    echo "or name yours: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { \
	    echo "$(PYTHON) is `$(PYTHON) -V 2>&1`, and mailserver needs Python 3.11 or newer." >&2; \
	    echo "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) has no venv module. On Debian: apt install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
