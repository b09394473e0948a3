# make demo            the main job: ask the model that ships about simulated ECGs (ECG=path asks about a file too)
# make demo-train      the same with a model that is trained first, in minutes
# make test            the whole suite; each makes its environment in .venv at first use
# make test-slow       the tests that take minutes
# make lint | format   ruff
SHELL := /bin/sh
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' requirements/cpu.txt)
# Where the CPU builds of torch live: on PyPI, torch for Linux is the CUDA build.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(PY) -m pip --disable-pip-version-check
# One thread per worker: two workers with two threads each on two cores are slower than one.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile

.DELETE_ON_ERROR:
.PHONY: demo demo-train test test-slow lint format environment

demo: $(READY)
	$(PY) -m ecgllm.cli demo $(if $(ECG),--ecg "$(ECG)")

demo-train: $(READY)
	$(PY) -m ecgllm.cli demo --train $(if $(ECG),--ecg "$(ECG)")

test: $(READY)
	$(PYTEST)

test-slow: $(READY)
	$(PYTEST) -m slow

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(READY)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

environment: $(READY)

$(READY): requirements/cpu.txt setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "ecgllm needs Python 3.10 to 3.13; '$(PYTHON)' is `$(PYTHON) -V 2>&1`. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear "$(VENV)" || { \
		echo "No virtual environment could be made in $(VENV). On Debian and Ubuntu: apt install python3-venv, then run make again." >&2; exit 1; }
	@if [ "`uname -s`" = Linux ]; then \
		echo "Installing $(TORCH), CPU build"; \
		$(PIP) install -q "$(TORCH)+cpu" 2>/dev/null || $(PIP) install "$(TORCH)+cpu" --extra-index-url "$(TORCH_INDEX)"; \
	else \
		$(PIP) install "$(TORCH)"; \
	fi
	@echo "Installing requirements/cpu.txt (a few minutes the first time)"
	$(PIP) install -q -r requirements/cpu.txt
	$(PIP) install -q -e . --no-deps --no-build-isolation
	@touch $@
