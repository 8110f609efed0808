# From a bare clone on a machine with Python 3.11, pip and make: `make noniid` or `make test`. Nothing else is needed.
PYTHON ?= python3
RUN := .venv/bin/python
EDGE ?= .venv-edge
CLIENTS ?= .venv-clients
DEPLOY := $(RUN) -m scenarios.deploy --home federation-pi
BENCH := speed memory scale export accuracy continual methods light

.PHONY: help noniid iid pathological centralized pi test fast slow-nodes slow-others edge page clients tools lint bench bench-peers fuzz drill drill-hostile drill-learning drill-page drill-nightly drill-arm drill-backends clean
help:  ## show this
	@sed -n 's/^\([a-z %-]*\):.*## /  make \1  /p' $(MAKEFILE_LIST)

noniid iid pathological centralized: .venv/installed  ## run that scenario
	$(RUN) -m scenarios.run $@

pi: .venv/installed  ## a federation of real nodes on this computer: brings up five processes, runs `pi` on them, stops them
	trap '$(DEPLOY) down' EXIT; trap 'exit 130' INT TERM; $(DEPLOY) up --nodes 4 && $(DEPLOY) run pi && $(DEPLOY) status

test: fast  ## all tests: the fast ones side by side, then the slow ones in two lanes
	@echo "now the slow tests; each of two lanes prints when it has ended"
	$(MAKE) --no-print-directory --output-sync=target --jobs=2 slow-nodes slow-others

# Real nodes mostly wait for each other, so they leave a core to the rest; a third lane costs more than it gains on two cores.
slow-nodes: .venv/installed
	$(RUN) -m pytest -m slow tests/test_deploy.py

slow-others: .venv/installed
	$(RUN) -m pytest -m slow --ignore tests/test_deploy.py

fast: .venv/installed  ## tests that take under two minutes in all
	$(RUN) -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile

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

lint: .venv/installed  ## style, types, and which room may import which
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/installed  ## programs that print speed, memory and accuracy figures (half an hour)
	for name in $(BENCH); do $(RUN) -m tests.bench.$$name || exit 1; done

bench-peers: .venv/installed .venv-peers/installed  ## a round against the floor, pfl and stock Flower, side by side (half an hour; torch)
	$(RUN) -m tests.bench.speed

.venv-peers/installed: pins-peers.txt
	$(PYTHON) -m venv --without-pip .venv-peers
	$(PYTHON) -m pip --python .venv-peers/bin/python install --disable-pip-version-check --no-deps --no-compile --quiet -r pins-peers.txt
	touch $@

fuzz: .venv/installed  ## damage what the project reads, by seed: files, clients' replies, command lines (half an hour)
	$(RUN) -m tests.fuzz

drill: .venv/installed  ## what can happen to devices, done to real nodes: network, power, disk, clock (ten minutes; Linux, nginx)
	$(RUN) -m tests.drill

drill-hostile: .venv/installed  ## what an admitted device can do to the others, done on real nodes (five minutes; loopback)
	$(RUN) -m tests.drill_hostile

drill-learning: .venv/installed  ## a hand that is misread, corrected on a device, learned by real nodes (fifteen minutes; loopback)
	$(RUN) -m tests.drill_learning

drill-page: .venv/installed page  ## drawings that are misread, corrected on the page, approved, learned by real nodes (fifteen minutes; loopback)
	$(RUN) -m tests.drill_page

drill-nightly: .venv/installed  ## devices that go on learning: new digits, one away, one shrunk, a gate, a rollback (twenty minutes; loopback)
	$(RUN) -m tests.drill_nightly

drill-arm: .venv/installed  ## an emulated Raspberry Pi joins, trains, is killed, comes back, reads (half an hour; Debian, as root)
	command -v mmdebstrap >/dev/null && command -v qemu-aarch64-static >/dev/null \
	  || { apt-get update -qq && apt-get install -y -qq --no-install-recommends mmdebstrap qemu-user-static; }
	$(RUN) -m tests.drill_arm

drill-backends: .venv/installed  ## one small run everywhere: in this process, on workers, on Ray, on a cluster, killed and resumed: the same weights (ten minutes)
	$(RUN) -m tests.drill_backends

# Debian's Python has no ensurepip without python3-venv, so the environment is filled from outside with the machine's pip.
.venv/installed: pins.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv --without-pip .venv
	$(PYTHON) -m pip --python .venv/bin/python install --disable-pip-version-check --no-deps --quiet -r pins.txt
	touch $@

$(EDGE)/installed: pins-edge.txt
	$(PYTHON) -m venv --without-pip $(EDGE)
	$(PYTHON) -m pip --python $(EDGE)/bin/python install --disable-pip-version-check --no-deps --no-compile --quiet -r pins-edge.txt
	touch $@

clients: $(CLIENTS)/installed  ## somebody else's client of the service, tritonclient, as a test needs it (.venv-clients)

$(CLIENTS)/installed: pins-clients.txt
	$(PYTHON) -m venv --without-pip $(CLIENTS)
	$(PYTHON) -m pip --python $(CLIENTS)/bin/python install --disable-pip-version-check --no-deps --no-compile --quiet -r pins-clients.txt
	touch $@

clean:  ## take away the environments; runs stay
	rm -rf .venv .venv-peers $(EDGE) $(CLIENTS)
