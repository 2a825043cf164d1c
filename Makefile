# Everything from a bare checkout: needs Python >= 3.11, make and a compiler, and nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TESTED := $(VENV)/.tested
ORACLE := $(VENV)/.oracle
DOCS   := $(VENV)/.docs
# Tests start hundreds of processes, each of which would compile all that it imports where nothing may be kept.
unexport PYTHONDONTWRITEBYTECODE
# Tests in two processes, one of which takes over from the other at the end: most of the suite runs on one thread.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test quick collect sensitive oracle docs docs-tools everything lint bench device clean

demo: $(STAMP)        ## the main job, under a minute
	$(BIN)/csrl demo

test: $(TESTED)       ## the whole suite
	$(PYTEST)

quick: $(TESTED)      ## the suite without what is marked slow
	$(PYTEST) -m "not slow"

collect: $(TESTED)    ## import all tests, by one process, so that those of other targets find all compiled
	$(BIN)/python -m pytest --collect-only -qq

sensitive: $(TESTED)  ## what another BLAS or vector width could change; .ci/run has it under several
	$(PYTEST) -m "sensitive and not slow" $$(grep -rl --include='test_*.py' mark.sensitive tests)

oracle: $(ORACLE)     ## PyTorch, the second opinion of tests and the peer of benchmarks

docs-tools: $(DOCS)   ## what builds the site

everything: $(BIN)/python  ## what all of these need, in one call of pip: each takes 6 s to see what is there
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[all,oracle,docs]"
	@touch $(STAMP) $(TESTED) $(ORACLE) $(DOCS)

docs: $(DOCS)         ## the site, in docs/_build: every example is run, every warning an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(STAMP)
	$(BIN)/python bench/bench_autoencoder.py

device:               ## on a machine with a GPU: verify, tests, sanitizers, fits, benchmark; installs nothing, needs no network
	CSRL_COMMIT=$${CSRL_COMMIT:-$$(git rev-parse --short HEAD 2>/dev/null)} $(PYTHON) bench/on_device.py

clean:
	rm -rf $(VENV) build docs/_build docs/gallery docs/api/found *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"csrl_core needs Python >= 3.11, {sys.executable} is {sys.version.split()[0]}; make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

# Without --no-compile pip compiles every file of SciPy and others, most of which are never imported.
$(STAMP): $(BIN)/python pyproject.toml
	@echo "installing csrl_core and what it needs into $(VENV): about half a minute, and what pip takes to download it"
	@echo "the first csrl after that compiles the packages that it imports and the kernels: about twenty seconds, once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable ".[cli,plot]"
	@touch $@

$(TESTED): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[all]"
	@touch $@

$(ORACLE): $(TESTED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[oracle]"
	@touch $@

$(DOCS): $(TESTED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	@touch $@
