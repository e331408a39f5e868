# Everything a checkout can do. Each target sets up what it needs; the second time takes seconds.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo example example-reports test lint types docs bench bench-quick autobahn lock clean

help:  ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.run  ## Set up what a run needs, and nothing else

demo: $(VENV)/.run  ## Run the main job for 20 s against a local stand-in of the service
	@mkdir -p reports/demo
	env -u WPS_CONNECTION_STRING -u WPS_CLIENT_URL -u WPS_NEGOTIATE_URL -u WPS_TOKENS_FILE \
		$(BIN)/locust -f locustfiles/pubsub.py --headless --only-summary \
		--users 50 --spawn-rate 50 --run-time 20s --csv reports/demo/locust --wps-reports reports/demo \
		--wps-verdict warn

example: $(VENV)/.dev  ## Measure the run of reports/example anew, about a minute
	$(BIN)/python tests/example.py
	$(MAKE) example-reports

example-reports: $(VENV)/.dev  ## Report on it again and take pictures of that with Chromium
	$(BIN)/wpsload report reports/example --out reports/example \
		--format text --format md --format html --format junit
	$(BIN)/python tests/screenshots.py

test: lint types  ## Check style, types, documents and behaviour
	$(BIN)/pytest tests --ignore=tests/load -m 'not alone' --numprocesses 6 --dist worksteal  # most wait
	$(BIN)/pytest tests/test_truth.py tests/test_compare.py -m alone  # their times are compared: nobody may take the cores
	$(BIN)/pytest -p locust.env tests/load --numprocesses 3 --dist worksteal  # apart: Locust patches the standard library of its process

lint: $(VENV)/.dev  ## Check style, spelling and generated documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/shellcheck .ci/capacity .ci/run
	$(BIN)/cog --check README.md

types: $(VENV)/.dev  ## Check types
	$(BIN)/mypy

docs: $(VENV)/.dev  ## Write the generated parts of the README anew
	$(BIN)/cog -r README.md

bench: $(VENV)/.dev  ## Compare with other generators, about half an hour; writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.bench --output benchmarks/RESULTS.md

bench-quick: $(VENV)/.dev  ## Compare with plain Locust users alone, in three minutes
	$(BIN)/python -m benchmarks.bench --quick

autobahn: $(VENV)/.dev  ## Run Autobahn|Testsuite, which needs Python 2.7, on stand-in and engine
	$(BIN)/python tests/autobahn_suite.py

lock: $(VENV)/.dev  ## Choose the newest versions that pyproject.toml allows
	$(BIN)/pip install -q uv
	$(BIN)/uv pip compile -q --universal --no-strip-extras --upgrade --generate-hashes --no-annotate \
		--no-header --exclude-newer "$$(date -u -d '-7 days' +%F)" pyproject.toml -o .ci/lock/run.txt
	$(BIN)/uv pip compile -q --universal --no-strip-extras --upgrade --generate-hashes --no-annotate \
		--no-header --exclude-newer "$$(date -u -d '-7 days' +%F)" pyproject.toml --group dev -c .ci/lock/run.txt -o .ci/lock/dev.txt

clean:  ## Remove the virtual environment, caches, and what was compiled
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build wpsload.egg-info
	rm -f wpsload/*.c wpsload/*.so wpsload/standin/*.c wpsload/standin/*.so

# Packages are pinned with hashes; the stamp files make a second call do nothing.
$(VENV)/.run: .ci/lock/run.txt pyproject.toml $(wildcard wpsload/*.pyx wpsload/*.pxd wpsload/standin/*.pyx)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit( \
		"error: wpsload needs Python 3.11 or newer\nhint: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r .ci/lock/run.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.dev: .ci/lock/dev.txt $(VENV)/.run
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r .ci/lock/dev.txt
	@touch $@
