# From a bare clone on a machine with Python 3.11, 3.12 or 3.13, pip and make: `make noniid` or `make test`. Nothing else is needed.
# Another Python than python3: `make PYTHON=python3.13 noniid`; beside .venv: `make PYTHON=python3.13 VENV=.venv-3.13 test`.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
EDGE ?= .venv-edge
CLIENTS ?= .venv-clients
# The Python that has pip: this one, or, where this is an activated environment's that was made without, the one that it was made of.
BASE = $(shell $(PYTHON) -c 'import sys; from importlib.util import find_spec as f; print(sys.executable if f("pip") else sys._base_executable)')
DEPLOY := $(RUN) -m scenarios.deploy --home federation-pi
# Tests of one file share what is made once, so a file stays in one process.
SIDE_BY_SIDE := --numprocesses auto --maxprocesses 4 --dist loadfile
BENCH := speed memory scale export accuracy continual methods light

.PHONY: help try noniid iid pathological centralized pi test fast slow-nodes slow-others edge page clients tools lint bench bench-peers fuzz drill drill-hostile drill-learning drill-page drill-nightly drill-arm drill-backends pins pythons clean
help:  ## show this
	@sed -n 's/^\([a-z %-]*\):.*## /  make \1  /p' $(MAKEFILE_LIST)

try: $(VENV)/installed  ## a first look, a small federation, with its report, in under a minute once all is installed
	$(RUN) -m scenarios.run quick

noniid iid pathological centralized: $(VENV)/installed  ## run that scenario
	$(RUN) -m scenarios.run $@

pi: $(VENV)/installed  ## a federation of real nodes on this computer: brings up five processes, runs `pi` on them, stops them
	trap '$(DEPLOY) down' EXIT; trap 'exit 130' INT TERM; $(DEPLOY) up --nodes 4 && $(DEPLOY) run pi && $(DEPLOY) status

test: fast  ## all tests: the fast ones, then the slow ones in two lanes
	@echo "now the slow tests; each of two lanes prints when it has ended"
	$(MAKE) --no-print-directory --output-sync=target --jobs=2 slow-nodes slow-others

# Real nodes wait for each other much of the time, so they have a lane of their own; not beside the fast tests, where they were
# so slow that rounds ran out of time.
slow-nodes: $(VENV)/installed
	$(RUN) -m pytest -m slow tests/test_deploy.py

# Tests of whole runs are long, so they begin first: a long file that begins last leaves the other cores idle.
WHOLE := $(filter-out tests/test_deploy.py,$(wildcard tests/test_*.py))
slow-others: $(VENV)/installed
	$(RUN) -m pytest -m slow $(WHOLE) $(filter-out %/__pycache__/,$(wildcard tests/*/)) $(SIDE_BY_SIDE) --no-loadscope-reorder

fast: $(VENV)/installed  ## tests of a few seconds at most: all in about four minutes on two cores
	$(RUN) -m pytest -m "not slow" $(SIDE_BY_SIDE)

pythons: $(VENV)/installed  ## on each other Python from 3.11 to 3.13 that is here: an environment, tests of what runs everywhere, a run with the same weights
	$(RUN) -m tests.pythons

# ONNX Runtime's own files for browsers, by npm: the service's page (server.serve) gives them, and nothing is fetched from elsewhere.
ORT := onnxruntime-web@1.30.0
page: server/serve/web/ort/ort.wasm.min.mjs  ## what the service's page needs in a browser: ONNX Runtime's wasm (npm)

server/serve/web/ort/ort.wasm.min.mjs:
	command -v npm >/dev/null || { echo "npm is needed to fetch $(ORT) (on Debian: apt-get install npm)"; exit 1; }
	npm install --prefix .tools/page --no-audit --no-fund --no-save $(ORT)
	mkdir -p $(@D)
	cd .tools/page/node_modules/onnxruntime-web/dist && cp ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm ort.wasm.min.mjs $(CURDIR)/$(@D)

edge: $(EDGE)/installed  ## what a device needs that only reads: an environment without TensorFlow, Ray, Flower (.venv-edge)

# Debian's packages by apt-get, as root; the rest by npm. Tests that need one of them are skipped without it.
DEBIAN := chromium dataset-fashion-mnist default-jdk-headless fonts-breip fonts-bwht fonts-dkg-handwriting fonts-humor-sans \
  fonts-rufscript fonts-sjfonts npm
NODE := kotlin-compiler@2.4.20 playwright-core@1.65.1 axe-core@4.14.1
tools: .tools/node_modules/axe-core page  ## what some tests need from outside Python: fonts, data, Java, Kotlin, Chromium (Debian, as root)

.tools/node_modules/axe-core:
	command -v java >/dev/null && command -v npm >/dev/null && dpkg -s $(filter-out default-jdk-headless npm,$(DEBIAN)) >/dev/null 2>&1 \
	  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$(command -v java >/dev/null || echo default-jdk-headless) \
	       $$(command -v npm >/dev/null || echo npm) $(filter-out default-jdk-headless npm,$(DEBIAN)); }
	npm install --prefix .tools --no-audit --no-fund --no-save $(NODE)

lint: $(VENV)/installed  ## style, types, and which room may import which
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/installed  ## programs that print speed, memory and accuracy figures (half an hour)
	for name in $(BENCH); do $(RUN) -m tests.bench.$$name || exit 1; done

bench-peers: $(VENV)/installed .venv-peers/installed  ## a round against the floor, pfl and stock Flower, side by side (half an hour; torch)
	$(RUN) -m tests.bench.speed

.venv-peers/installed: pins-peers.txt
	$(call environment,.venv-peers,$<,--no-compile)

fuzz: $(VENV)/installed  ## damage what the project reads, by seed: files, clients' replies, command lines (half an hour)
	$(RUN) -m tests.fuzz

drill: $(VENV)/installed  ## what can happen to devices, done to real nodes: network, power, disk, clock (ten minutes; Linux, nginx)
	$(RUN) -m tests.drill

drill-hostile: $(VENV)/installed  ## what an admitted device can do to the others, done on real nodes (five minutes; loopback)
	$(RUN) -m tests.drill_hostile

drill-learning: $(VENV)/installed  ## a hand that is misread, corrected on a device, learned by real nodes (fifteen minutes; loopback)
	$(RUN) -m tests.drill_learning

drill-page: $(VENV)/installed page  ## drawings that are misread, corrected on the page, approved, learned by real nodes (fifteen minutes; loopback)
	$(RUN) -m tests.drill_page

drill-nightly: $(VENV)/installed  ## devices that go on learning: new digits, one away, one shrunk, a gate, a rollback (twenty minutes; loopback)
	$(RUN) -m tests.drill_nightly

drill-arm: $(VENV)/installed  ## an emulated Raspberry Pi joins, trains, is killed, comes back, reads (half an hour; Debian, as root)
	command -v mmdebstrap >/dev/null && command -v qemu-aarch64-static >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap qemu-user-static; }
	$(RUN) -m tests.drill_arm

drill-backends: $(VENV)/installed  ## one small run everywhere: in this process, on workers, on Ray, on a cluster, killed and resumed: the same weights (ten minutes)
	$(RUN) -m tests.drill_backends

# $(call environment,FOLDER,PINS,MORE OPTIONS): make it, and leave none that is not filled. Debian's Python has no ensurepip without
# python3-venv, so it is filled from outside, with the machine's pip.
define environment
	@$(BASE) -m pip --version >/dev/null || { echo "pip is needed (on Debian: apt-get install python3-pip)"; exit 1; }
	new=$$(test -e $(1) || echo $(1)); $(BASE) -m venv --without-pip $(1) \
	  && $(BASE) -m pip --python $(1)/bin/python install --disable-pip-version-check --no-deps $(3) --quiet -r $(2) || { rm -rf $$new; exit 1; }
	touch $@
endef

$(VENV)/installed: pins.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("Python 3.11, 3.12 or 3.13 is needed: make PYTHON=python3.13")'
	@echo "installing the exact versions of $< into $(VENV): 3.3 GB, some minutes, this once"
	$(call environment,$(VENV),$<)

# What is pinned stays as it is unless it must change; `make pins UPGRADE=--upgrade` takes the newest of everything.
PIN := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header $(UPGRADE) pyproject.toml
# A device is spared uv, which Flower calls only to install an app's needs, and what uvicorn and SQLAlchemy can do without.
SPARED := $(addprefix --no-emit-package ,uv httptools python-dotenv uvloop watchfiles websockets greenlet)
pins: $(VENV)/installed  ## choose exact versions anew from pyproject.toml, for every Python: pins.txt, pins-pi.txt, pins-edge.txt
	$(PIN) --extra dev -o pins.txt
	$(PIN) --extra pi --constraint pins.txt $(SPARED) -o pins-pi.txt
	$(PIN) --extra edge --constraint pins.txt -o pins-edge.txt

$(EDGE)/installed: pins-edge.txt
	$(call environment,$(EDGE),$<,--no-compile)

clients: $(CLIENTS)/installed  ## somebody else's client of the service, tritonclient, as a test needs it (.venv-clients)

$(CLIENTS)/installed: pins-clients.txt
	$(call environment,$(CLIENTS),$<,--no-compile)

clean:  ## take away the environments; runs stay
	rm -rf $(VENV) .venv-peers $(EDGE) $(CLIENTS)
