# `make` alone lists what there is. Every step is done once and leaves a stamp in .venv; a failed one leaves none.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install app lock demo test test-long quick mutants test-flash test-clients check compiled bench chaos soak fuzz clean broker programs model docs docs-serve

PYTHON ?= python3
PYTEST_ARGS ?=
# Processes that run tests side by side; WORKERS=0: in pytest's own, for a debugger or to see what tests print.
WORKERS ?= 2
# Hundreds of tests start a Python of their own. It finds its modules compiled, even where no bytecode is kept otherwise.
export PYTHONDONTWRITEBYTECODE :=
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# Python may keep what it compiled: or each of a thousand processes that tests start would compile our code anew.
RUN_TESTS = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# What of llama.cpp we do not use and need not compile: it saves more than half of the time.
LLAMA_CMAKE_ARGS := -DLLAVA_BUILD=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TESTS=OFF \
	-DLLAMA_BUILD_SERVER=OFF -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF

# AMX has nothing for devices like ours, and virtual machines that say they have it may stop llama.cpp with SIGILL.
NO_AMX := $(shell flags="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"; $${CC:-cc} $$flags -E -x c /dev/null >/dev/null 2>&1 && echo $$flags)
BUILD_LLAMA := CMAKE_ARGS="$(LLAMA_CMAKE_ARGS)" CFLAGS="$(NO_AMX) $(CFLAGS)" CXXFLAGS="$(NO_AMX) $(CXXFLAGS)"

# Not a stamp: models live in the user's data folder, which may be another one than last time.
NAME_MODEL = name=$$($(BIN)/python -c 'from edge_agent.models import DEFAULT_MODEL; print(DEFAULT_MODEL)')
HAS_MODEL = $(BIN)/moamesh models path "$$name" >/dev/null 2>&1
FETCH_MODEL = $(NAME_MODEL); $(HAS_MODEL) || { \
	echo "Default model $$name (98 MB; up to 1 minute)"; $(BIN)/moamesh models pull "$$name"; }
# One that came before llama-cpp-python could not be made fast then: pulling it again does that, and fetches nothing.
IMPROVE_MODEL = $(NAME_MODEL); ! $(HAS_MODEL) || $(BIN)/moamesh models pull "$$name" >/dev/null

help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.+)$$/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(STAMPS)/packages broker model app-if-possible ## set up .venv with all packages, a broker and the default model
	@echo "Ready: $(BIN)/moamesh"

app: $(STAMPS)/packages ## build the web app that the gateway serves (needs npm's registry once), and say its size
	@$(BIN)/python scripts/build_app.py

# Where npm cannot be reached, everything but the web app works: one line says so.
.PHONY: app-if-possible
app-if-possible: $(STAMPS)/packages
	@$(BIN)/python scripts/build_app.py --optional

# What the demo needs and no more, unless llama.cpp is compiled already: then everything, as `make install` has it.
DEMO_NEEDS := $(if $(wildcard $(STAMPS)/llama),install,$(STAMPS)/demo broker)

demo: $(DEMO_NEEDS) ## four devices answer prompts together, here (no compiler needed)
	@$(FETCH_MODEL)
	@$(BIN)/moamesh demo

# Folders that need the packages alone: `make test PYTEST_ARGS=tests/core` sets up no broker, model, app or database.
COMPUTES := tests/core% tests/wire% tests/config% tests/lab/analysis%
OTHERS := $(filter-out $(COMPUTES) -%,$(PYTEST_ARGS))
TEST_NEEDS := $(if $(and $(filter $(COMPUTES),$(PYTEST_ARGS)),$(if $(OTHERS),,none)),$(STAMPS)/packages,install programs)

test: $(TEST_NEEDS) ## run every test that can run here, but the long ones
	@$(RUN_TESTS) $(PYTEST_ARGS)

test-long: $(TEST_NEEDS) ## run the long tests
	@$(RUN_TESTS) -m long $(PYTEST_ARGS)

quick: $(STAMPS)/packages ## run the tests that start no server, program, browser, model or compiler
	@$(RUN_TESTS) -p tests.quick $(PYTEST_ARGS)

# FLASH_ARCH=arm64: as a Raspberry Pi is. Its image takes 10 minutes to build, once; both are kept in ~/.cache/moamesh.
FLASH_ARCH ?= amd64
test-flash: install ## flash an image, boot it under emulation, have it join and answer (6 minutes; the first time 8)
	@bash scripts/install_emulator.sh $(FLASH_ARCH)
	@MOAMESH_FLASH_ARCH=$(FLASH_ARCH) $(BIN)/python -m pytest tests/flash/boots.py -s $(PYTEST_ARGS)

test-clients: install ## LiteLLM, AlpacaEval and lm_eval ask a mesh (1 minute; the first time 3, and 1 GB in ~/.cache/moamesh)
	@bash scripts/install_clients.sh
	@$(BIN)/python -m pytest tests/gateway/other_clients.py -s $(PYTEST_ARGS)

mutants: $(STAMPS)/packages ## how many of 300 small faults the tests of core and wire find (an hour; MUTANTS="--seed 2 --count 50")
	@python=$$(bash scripts/install_mutants.sh) && $(BIN)/python -m scripts.mutants --python "$$python" --jobs $(WORKERS) $(MUTANTS)

check: $(STAMPS)/packages ## lint, format, types, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lock: $(STAMPS)/packages ## pin every package with checksums, after a change of pyproject.toml's requirements (asks the index)
	@$(BIN)/python scripts/lock_requirements.py

compiled: $(STAMPS)/packages ## compile the simulator for long runs, in a folder of its own (3 minutes of one core)
	@$(BIN)/python scripts/compile_simulator.py
	@echo "Ready: $(BIN)/python build/compiled/simulate.py, with the options of moamesh simulate"

docs: $(STAMPS)/packages ## build the documentation site in build/site; a dead link is an error
	@$(BIN)/python -m scripts.docs build

docs-serve: $(STAMPS)/packages ## show the documentation in a browser, made anew as its sources change
	@$(BIN)/python -m scripts.docs serve

bench: install compiled ## measure the protocol's cost against a bare MQTT echo, the simulator's beside SimPy and Ciw
	@$(BIN)/python -m bench

# Real processes in namespaces of their own, as root on Linux. MODEL=FILE.gguf: one device runs llama.cpp.
KILLS ?= 1000
SEED ?=
HOURS ?= 2
MODEL ?=
chaos: install programs ## kill, stop, starve, cut off real processes, fill disks; was every promise kept? (1,000 kills: an hour)
	@$(BIN)/python -m tests.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(if $(MODEL),--model $(MODEL))

soak: install programs ## a mesh under steady load for 2 hours: does anything grow? Draws docs/img/soak.svg
	@$(BIN)/python -m tests.chaos.soak --hours $(HOURS) $(if $(MODEL),--model $(MODEL))

BODIES ?= 10000000
STEPS ?= 100000
fuzz: $(STAMPS)/packages ## bytes and events that nobody should send, through codec and core (10 million bodies: half an hour)
	@$(BIN)/python -m tests.hostile.fuzz --bodies $(BODIES) --steps $(STEPS) $(if $(SEED),--seed $(SEED))

clean: ## remove .venv and caches (not models, which are in your data folder)
	@rm -rf $(VENV) build dist app/node_modules edge_agent/gateway/static .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(STAMPS)/venv:
	@bash scripts/check_tools.sh $(PYTHON)
	@echo "[1] Python environment in $(VENV) (10 seconds)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --upgrade "pip>=25.1"    # the first that knows --group
	@mkdir -p $(STAMPS)
	@touch $@

$(STAMPS)/demo: $(STAMPS)/venv pyproject.toml
	@bash scripts/install_for_demo.sh $(BIN)/python
	@touch $@

# A step of its own, so that a failed download later does not cost the compilation again.
$(STAMPS)/llama: $(STAMPS)/venv
	@bash scripts/check_tools.sh $(PYTHON) compiler
	@echo "[2] llama.cpp: compiling for this machine (5 minutes on 2 cores, once; seconds where pip has it cached)"
	@$(BUILD_LLAMA) $(PIP) install "$$($(BIN)/python scripts/print_extra.py llama)"
	@touch $@

$(STAMPS)/packages: $(STAMPS)/llama pyproject.toml
	@echo "[3] Python packages (1 minute)"
	@$(BUILD_LLAMA) $(PIP) install --editable ".[all]" --group dev
	@$(IMPROVE_MODEL)
	@touch $@

broker:
	@bash scripts/install_mosquitto.sh

# For the tests alone: databases, a broker that clusters, image tools.
programs:
	@bash scripts/install_test_programs.sh

model: $(STAMPS)/packages
	@$(FETCH_MODEL)
