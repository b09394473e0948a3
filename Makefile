# make demo            the main job: ask the model that ships about simulated ECGs (ECG=path asks about a file too)
# make demo-train      the same with a model that is trained first, in minutes
# make test            the whole suite; each makes its environment in .venv at first use
# make test-slow       the tests that take minutes
# make test-newest     the tests marked smoke, with the newest dependencies that setup.py allows, resolved today
# make test-oldest     the same with the oldest that it declares
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
NEWEST := .venv-newest
OLDEST := .venv-oldest
# One thread per worker: two workers with two threads each on two cores are slower than one.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# $(call torch,ENVIRONMENT): the pinned torch, alone and first
define torch
@if [ "`uname -s`" = Linux ]; then \
	echo "Installing $(TORCH), CPU build, in $(1)"; \
	$(1)/bin/python -m pip install -q "$(TORCH)+cpu" 2>/dev/null || \
		$(1)/bin/python -m pip install "$(TORCH)+cpu" --extra-index-url "$(TORCH_INDEX)"; \
else \
	$(1)/bin/python -m pip install "$(TORCH)"; \
fi
endef
define with_torch
@$(1)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear "$(1)"
$(call torch,$(1))
endef
# $(call smoke,ENVIRONMENT)
define smoke
@$(1)/bin/python -m pip list --disable-pip-version-check | grep -iE '^(torch|transformers|peft|accelerate|datasets|numpy|scipy|wfdb|pandas) '
OMP_NUM_THREADS=1 $(1)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m smoke `grep -rl --include='test_*.py' 'mark\.smoke' tests`
endef

.DELETE_ON_ERROR:
.PHONY: demo demo-train test test-slow test-newest test-oldest lint format environment

demo: $(READY)
	$(PY) -m ecgllm.cli demo $(if $(ECG),--ecg "$(ECG)")

demo-train: $(READY)
	$(PY) -m ecgllm.cli demo --train $(if $(ECG),--ecg "$(ECG)")

test: $(READY)
	$(PYTEST)

test-slow: $(READY)
	$(PYTEST) -m slow

# Resolved anew at each call. torch is the pinned one in all environments: other releases are not tested.
test-newest:
	$(call with_torch,$(NEWEST))
	@echo "$(TORCH)" > $(NEWEST)/torch.txt
	$(NEWEST)/bin/python -m pip install -q --upgrade --upgrade-strategy eager -c $(NEWEST)/torch.txt -e '.[dev]'
	$(call smoke,$(NEWEST))

# Lowest are the direct dependencies; what they bring along is today's. uv only writes the list: pip installs it, for torch comes
# from elsewhere.
test-oldest:
	$(call with_torch,$(OLDEST))
	$(OLDEST)/bin/python -m pip install -q uv
	$(OLDEST)/bin/uv pip compile -q --resolution lowest-direct --python $(OLDEST)/bin/python --extra dev \
		--no-header --no-annotate setup.py -o $(OLDEST)/all.txt
	grep -Ev '^(torch|triton|nvidia-|cuda-)' $(OLDEST)/all.txt > $(OLDEST)/others.txt
	$(OLDEST)/bin/python -m pip install -q -r $(OLDEST)/others.txt
	$(OLDEST)/bin/python -m pip install -q -e . --no-deps
	$(OLDEST)/bin/python -m pip check
	$(call smoke,$(OLDEST))

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
	$(call torch,$(VENV))
	@echo "Installing requirements/cpu.txt (a few minutes the first time)"
	$(PIP) install -q -r requirements/cpu.txt
	$(PIP) install -q -e . --no-deps --no-build-isolation
	@touch $@
