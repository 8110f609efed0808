# From a bare clone on a machine with Python 3.11, pip and make: `make noniid` or `make test`. Nothing else is needed.
PYTHON ?= python3
RUN := .venv/bin/python
EDGE ?= .venv-edge
DEPLOY := $(RUN) -m scenarios.deploy --home federation-pi
BENCH := speed memory scale export accuracy continual methods light

.PHONY: help noniid iid pathological centralized pi test fast edge lint bench fuzz drill drill-hostile clean
help:  ## show this
	@sed -n 's/^\([a-z %-]*\):.*## /  make \1  /p' $(MAKEFILE_LIST)

noniid iid pathological centralized: .venv/installed  ## run that scenario
	$(RUN) -m scenarios.run $@

pi: .venv/installed  ## a federation of real nodes on this computer: brings up five processes, runs `pi` on them, stops them
	trap '$(DEPLOY) down' EXIT; trap 'exit 130' INT TERM; $(DEPLOY) up --nodes 4 && $(DEPLOY) run pi && $(DEPLOY) status

test: fast  ## all tests: the fast ones side by side, then the slow ones, which need the machine to themselves
	$(RUN) -m pytest -m slow

fast: .venv/installed  ## tests that take under two minutes in all
	$(RUN) -m pytest -m "not slow" --numprocesses auto --maxprocesses 4

edge: $(EDGE)/installed  ## what a device needs that only reads: an environment without TensorFlow, Ray, Flower (.venv-edge)

lint: .venv/installed  ## style, types, and which room may import which
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: .venv/installed  ## programs that print speed, memory and accuracy figures (half an hour)
	for name in $(BENCH); do $(RUN) -m tests.bench.$$name || exit 1; done

fuzz: .venv/installed  ## damage what the project reads, by seed: files, clients' replies, command lines (half an hour)
	$(RUN) -m tests.fuzz

drill: .venv/installed  ## what can happen to devices, done to real nodes: network, power, disk, clock (ten minutes; Linux, nginx)
	$(RUN) -m tests.drill

drill-hostile: .venv/installed  ## what an admitted device can do to the others, done on real nodes (five minutes; loopback)
	$(RUN) -m tests.drill_hostile

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

clean:  ## take away the environments; runs stay
	rm -rf .venv $(EDGE)
