# Set-up is part of every target: a fresh machine with Python 3.11 and make needs nothing else.
#   make serve      start the desk            make test     the tests (under 5 minutes)
#   make lint       ruff and mypy             make browser  the pages in headless Chromium
#   make bench      the engine's correctness at length, and its speed beside others; with DATA=FOLDER training's figures too
#   make bench-train DATA=FOLDER   those alone: speed, resuming, what is gained, what is refused
#   make gate       the demo's replies against those of .ci/returns.json
#   make proof      prompt, adapter, or both, on the demo, with the learning curve: docs/proof
#   make faults     saving and publishing under kill -9, full disks and many writers, at length (FAULTS=500)
#   make starter DATA=FOLDER   train the embedded base model (hours; resumes by itself)
# TORCH_INDEX=URL picks where torch comes from, such as PyTorch's CPU index (see README).

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: serve test lint format browser bench bench-train gate proof faults starter lock clean

serve: $(VENV)/.ready
	$(BIN)/bot serve $(ARGS)

test: $(VENV)/.ready-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile -m "not browser" $(ARGS)

lint: $(VENV)/.ready-dev
	$(BIN)/ruff format --check bot tests
	$(BIN)/ruff check bot tests
	$(BIN)/mypy

format: $(VENV)/.ready-dev
	$(BIN)/ruff format bot tests
	$(BIN)/ruff check --fix bot tests

browser: $(VENV)/.ready-dev
	command -v chromium >/dev/null || sh tests/browser/install-chromium.sh
	$(BIN)/pytest -m browser $(ARGS)

# Half an hour and more, on a machine that does nothing else; tests/load/README.md says how to have the peers measured too.
bench: $(VENV)/.ready-dev
	SCHEDULES=125 $(BIN)/pytest tests/engine/test_batch.py
	$(BIN)/bot bench serve --out tests/load/results/serve.json $(ARGS)
	$(BIN)/python -m tests.load.readme
	$(if $(DATA),$(MAKE) bench-train DATA=$(DATA) ARGS=)

# What the demo's two main set-ups say to sixteen held-out turns, against a report that was good. After a change that is
# meant to change replies: make gate GATE="--out FOLDER", and its report.json is the new one.
GATE ?= --against .ci/returns.json --max-drop facts-right=0.1 --max-drop similarity=0.05 --max-drop reference-cost=0.1

gate: $(VENV)/.ready
	$(BIN)/bot evaluate --scenario returns --arms zero-shot+knowledge,prompt+adapter+knowledge --seeds 1 --limit 16 --no-labels $(GATE)

proof: $(VENV)/.ready-dev
	$(BIN)/bot evaluate --scenario returns --curve --out docs/proof $(ARGS)

faults: $(VENV)/.ready-dev
	FAULTS=$(or $(FAULTS),500) $(BIN)/pytest tests/faults $(ARGS)

# Training's figures; DATA is a folder with dialogues/ and intents/banking77/. Hours, on two cores.
bench-train: $(VENV)/.ready-dev
	@test -n "$(DATA)" || { echo "Name the folder of open data: make bench-train DATA=FOLDER (tests/load/README.md)"; exit 1; }
	$(BIN)/python -m tests.load.train --data $(DATA)/dialogues --out tests/load/results/train.json $(ARGS)
	$(BIN)/python -m tests.load.classify --data $(DATA)/intents/banking77 --out tests/load/results/train.json
	$(BIN)/python -m tests.load.readme

WORK ?= var/starter

starter: $(VENV)/.ready-dev
	@test -n "$(DATA)" || { echo "Name the folder of open dialogues: make starter DATA=FOLDER (bot/starter/README.md)"; exit 1; }
	# The allocator keeps what it has: a step's buffers are the next one's, and giving them back costs a tenth of the time.
	export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000; \
	for step in bank tokenizer train; do $(BIN)/python -m bot.starter $$step --work $(WORK) --data $(DATA) $(ARGS) || exit 1; done
	$(BIN)/python -m bot.starter evaluate --work $(WORK) --data $(DATA) --model $(WORK)/model/checkpoint.pt --out $(WORK)/results.json
	$(BIN)/python -m bot.starter export --work $(WORK) --model $(WORK)/model/checkpoint.pt --results $(WORK)/results.json --out $(WORK)/export

# The versions that the tests ran with, for everybody's set-up.
lock: $(VENV)/.ready-dev
	$(BIN)/pip freeze --exclude-editable | grep -iv '^torch==' > requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian: apt install python3-venv"; exit 1; }

# torch first and by exact version: a looser request would bring the largest build there is.
$(VENV)/.ready: pyproject.toml requirements.lock | $(VENV)/bin/python
	@echo "Setting up $(VENV). The first time takes a few minutes: torch alone is about 200 MB."
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==2.13.0
	$(BIN)/pip install --quiet --constraint requirements.lock --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --constraint requirements.lock --editable '.[dev]'
	touch $@
