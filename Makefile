# Each of demo, serve, test and check works as the first command on a machine that has
# Python 3.11 or newer, make and git: everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

GIGABYTES ?= 0.25

BROWSER_READY := $(VENV)/browser-ready

MODULES_READY := $(VENV)/torch-ready

DOCS_READY := $(VENV)/docs-ready
GUIDE := service/batchgrad_service/web/site

PEERS := .venv-peers
PEERS_READY := $(PEERS)/ready
TORCH_READY := $(PEERS)/torch-ready

.PHONY: demo serve test test-monitoring test-cluster test-containers test-browser test-stress test-peers test-recipes test-docs test-sklearn test-large test-torch test-gpu test-privacy check format docs peers bench bench-quick bench-scale clean

demo: $(READY)  ## Train on the digits with two Ray workers; show the shortcuts' gap
	$(BIN)/batchgrad demo

serve: $(READY)  ## Run the service on http://127.0.0.1:8711
	$(BIN)/batchgrad serve

# In the files' own order the longest, end_to_end, come early; xdist's would leave them for the end.
test: $(READY)  ## All tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-docs: $(READY)  ## Run every command and example of README and guide
	$(BIN)/python -m tests.guide

test-recipes: $(READY)  ## Each recipe of docs/extending.md, applied to a copy of the tree
	$(BIN)/python -m tests.recipes

test-sklearn: $(READY)  ## All of scikit-learn's checks of our estimators; three minutes
	$(BIN)/python -m tests.estimators

test-stress: $(READY)  ## The service under load, kills, a full disk and hostile input; minutes
	$(BIN)/python -m tests.stress

test-torch: $(MODULES_READY)  ## PyTorch modules: gradients, jobs and examples; installs PyTorch
	$(BIN)/python -m tests.torch

test-privacy: $(READY)  ## Differential privacy: accounting, noise, bounds, bits, an audit; two minutes
	$(BIN)/python -m tests.privacy

test-gpu: $(MODULES_READY)  ## The same on a GPU: bits, norms, speed; says aloud that it skips without one
	$(BIN)/python -m tests.gpu

test-large: $(READY)  ## A large file in little memory, a CSV to predictions; GIGABYTES=10 is the full size
	$(BIN)/python -m tests.large --gigabytes $(GIGABYTES)

test-peers: $(READY) $(TORCH_READY)  ## Gradients against PyTorch's, on random networks; two minutes
	$(BIN)/python -m tests.peers.round_trips
	$(BIN)/python -m tests.peers

test-containers: $(READY)  ## docker-compose.yml on a real Docker engine; installs its Debian packages
	$(BIN)/python -m tests.containers

test-cluster: $(READY)  ## Jobs on three hosts, network namespaces of this machine; needs root
	$(BIN)/python -m tests.cluster

test-monitoring: $(READY)  ## Dashboards, alerts: a real Prometheus and Alertmanager, Grafana's types
	$(BIN)/python -m tests.monitoring

check: $(READY)  ## Format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(DOCS_READY)  ## Build the guide, which the service serves at /guide; a broken link is an error
	rm -rf $(GUIDE)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env \
	  --doctree-dir build/doctrees docs $(GUIDE)

test-browser: $(BROWSER_READY) docs  ## The pages in Debian's Chromium, which is installed if missing
	$(BIN)/python -m tests.browser

format: $(READY)  ## Format the code and fix lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

peers: $(PEERS_READY)  ## Install the libraries to compare with into .venv-peers

bench: $(MODULES_READY) $(PEERS_READY)  ## Run all benchmarks; write benchmarks/RESULTS.md, TORCH.md
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.modules

bench-quick: $(MODULES_READY) $(PEERS_READY)  ## A few benchmarks in under five minutes; print tables
	$(BIN)/python -m benchmarks --quick
	$(BIN)/python -m benchmarks.modules --quick

bench-scale: $(READY)  ## Measure steps on up to four hosts and update docs/explanation/scale.md; needs root, ten minutes
	$(BIN)/python -m benchmarks.scale --measure

clean:  ## Remove the files that other targets made
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .hypothesis dist build $(GUIDE)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else \
	  f"batchgrad needs Python 3.11 or newer, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[service,demo,dev]'
	@touch $@

# torch first and alone, with its dependencies; the others without theirs: some would replace torch.
$(TORCH_READY): benchmarks/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  "$$(grep '^torch==' benchmarks/peers.txt)"
	@touch $@

$(PEERS_READY): $(TORCH_READY)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps --requirement benchmarks/peers.txt
	@touch $@

$(MODULES_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[service,demo,dev,torch]'
	@touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[service,demo,dev,docs]'
	@touch $@

$(BROWSER_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[service,demo,dev,browser]'
	@touch $@
