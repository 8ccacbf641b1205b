# make lab        open the course in JupyterLab              make test       everything, as before a release
# make notebooks  run and rewrite the notebooks              make test-fast  what a change needs, in a few minutes
# make figures    the exhibits of the published works        make bench      measurements against the peers
# make notebook-figures  save the notebooks' figures as PNG files
#
# Each sets up .venv first, once.  PYTHON=… chooses the interpreter, NOTEBOOKS=… the notebooks; RESULTS=… is a
# folder of tables of your own for the figures, DATA=… with ROOT=… counts a data set on your disk instead.

.DEFAULT_GOAL := lab
.PHONY: lab test test-fast lint notebooks figures notebook-figures bench

BIN := .venv/bin
PYTHON ?= $(or $(firstword $(foreach name,python3 python python3.13 python3.12 python3.11,\
    $(shell $(name) -c 'import sys; print("$(name)" if sys.version_info >= (3, 11) else "")' 2>/dev/null))),python3)
NOTEBOOKS ?= $(sort $(wildcard notebooks/*.ipynb))

# Notebooks are written and tested under the same conditions, whatever the reader's own settings are.
# mammo_utils/course/write.py holds the same three; a test compares.
COURSE := MAMMO_PROFILE=cpu MAMMO_PRECISION=32-true OMP_NUM_THREADS=1
unexport MAMMO_FILE MAMMO_DATA MAMMO_DEVICE
PYTEST := $(COURSE) MAMMO_CACHE='$(CURDIR)/build/cache' $(BIN)/python -m pytest -n 2 --dist loadscope

.venv/.installed: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "This course needs Python 3.11 or later; '$(PYTHON)' is missing or older."; \
	  echo "Install it and run e.g.: make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' cannot make virtual environments.  On Debian or Ubuntu: apt-get install python3-venv"; \
	  exit 1; }
	@echo "Setting up .venv: a few minutes and about 7 GB, once (less with a CPU-only torch, see README.md)."
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[test]'
	@touch $@

# JupyterLab prints its address as well, for machines without a browser; root has to ask for permission.
lab: .venv/.installed
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/00_start_here.ipynb

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint
	@rm -rf build/cache
	$(PYTEST) mammo_utils tests $(NOTEBOOKS) --durations=15 --nbval --nbval-current-env \
	  --nbval-cell-timeout=180 --nbval-sanitize-with=tests/notebooks/sanitize.cfg

test-fast: lint
	$(PYTEST) -m 'not slow and not browser'

notebooks: .venv/.installed
	$(BIN)/python -m mammo_utils.course.write $(NOTEBOOKS)

figures: .venv/.installed
	$(BIN)/python -m mammo_utils figures \
	  $(if $(RESULTS),--results '$(RESULTS)') $(if $(DATA),--data '$(DATA)') $(if $(ROOT),--root '$(ROOT)')

notebook-figures: .venv/.installed
	$(BIN)/python -m mammo_utils.course.figures build/notebook_figures $(NOTEBOOKS)

bench: .venv/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[bench]'
	@set -e; for script in $(or $(wildcard benchmarks/*.py),no); do \
	  test $$script != no || { echo "benchmarks/ holds no measurement yet"; exit 1; }; \
	  $(BIN)/python $$script; done
