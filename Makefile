# The local commands are the CI commands.
export TZ := UTC
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export GIT_PYTHON_REFRESH := quiet
export OMP_WAIT_POLICY := passive

PYTHON ?= python3
BIN := .venv/bin
SERVICES := $(wildcard tests/features/test_online*.py) tests/features/test_vector_store.py tests/features/test_store.py \
    tests/features/test_store_feast.py tests/features/test_decision_row.py tests/features/test_assortment.py \
    tests/features/test_fresh.py tests/features/test_forget_online.py $(wildcard tests/features/test_registry*.py) \
    tests/configs/test_audit.py tests/configs/test_databases.py tests/configs/test_online.py \
    tests/serving/test_online_down.py tests/serving/test_follow.py tests/serving/log tests/serving/forget \
    tests/serving/nbo/test_nbo_postgres.py tests/serving/access/test_rates.py tests/serving/console/test_lookup.py \
    tests/training/gate/test_journal.py tests/training/gate/test_stores.py

.PHONY: help setup spark java audit slim demo serve notebooks test services test-services browser test-browser screenshots check lock clean

help:  ## these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  \1\t/' | expand -t 16

setup: .venv/installed  ## the environment: .venv from requirements.lock, and this project

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else f"userops needs Python 3.11 to 3.13, got {sys.version.split()[0]}: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	@awk '/^pip==/ {found = 1} found {print; if (!/\\$$/) exit}' requirements.lock > .venv/pip.lock
	@awk '/^[a-z]/ {skip = /^(py4j|pyspark)==/} !skip' requirements.lock > .venv/base.lock
	@echo "Installing $$(grep -c '==' .venv/base.lock) locked packages (about two minutes) ..."
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/pip.lock
	$(BIN)/python -m pip install --quiet --require-hashes --requirement .venv/base.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

spark: setup java .venv/spark  ## Spark beside it (400 MB; needs Java 17): features and bulk scores on a cluster

java:  ## Java for Spark, where root may install it; else says that it is missing
	@if ! command -v java > /dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	            openjdk-17-jre-headless; \
	    else echo "Spark wants Java 17: apt-get install openjdk-17-jre-headless"; fi; fi

.venv/spark: requirements.lock
	$(BIN)/python -m pip install --quiet --require-hashes --no-build-isolation --requirement requirements.lock
	@touch $@

demo: setup  ## simulate a shop, run the whole way, ask for one user's scores
	$(BIN)/userops demo

serve: setup  ## the same, and leave the service running
	$(BIN)/userops demo --keep-serving

notebooks: setup  ## run all notebooks on the home that `make demo` made; nothing is written into them
	$(BIN)/jupyter execute --timeout=900 notebooks/*.ipynb

test: setup  ## all tests, one process per core
	$(BIN)/python -m pytest -n auto --dist loadfile

services:  ## PostgreSQL and Redis, where root may install them; else says what is missing
	@if ! ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || ! command -v redis-server > /dev/null; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	            postgresql redis-server; \
	    else echo "some tests want PostgreSQL and Redis: apt-get install postgresql redis-server"; fi; fi

test-services: setup services  ## what holds for the embedded stores, held by PostgreSQL and Redis; they are started and ended
	$(BIN)/python -m pytest -ra $(SERVICES)

browser:  ## Chromium and a Chinese font, where root may install them; else says what is missing
	@if ! { command -v chromium || command -v chromium-browser || command -v google-chrome; } > /dev/null \
	    || ! fc-list :lang=zh 2> /dev/null | grep -q .; then \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	            chromium fontconfig fonts-noto-cjk fonts-noto-core; \
	    else echo "the browser tests want chromium and fonts-noto-cjk: apt-get install them"; fi; fi

test-browser: setup browser  ## the console in a real browser; screenshots are left in var/screenshots
	$(BIN)/python -m pytest tests/browser

screenshots: setup browser  ## docs/console/*.png anew, from the home that `make demo` made
	USEROPS_TEST_HOME=$(or $(USEROPS_HOME),$(CURDIR)/var) USEROPS_SCREENSHOTS=$(CURDIR)/docs/console \
	    $(BIN)/python -m pytest tests/browser/test_screenshots.py

audit: setup  ## bill of materials, licences, known holes of what is locked
	@mkdir -p var
	$(BIN)/python -m configs.deploy.audit sbom var/sbom.json
	$(BIN)/python -m configs.deploy.audit licences
	$(BIN)/python -m configs.deploy.audit holes || [ $$? = 3 ]  # 3: the database of holes was not reached

slim: setup  ## the packages of the serving image in an environment of their own, var/slim
	$(PYTHON) -m venv var/slim
	var/slim/bin/python -m pip install --quiet --require-hashes --only-binary :all: --requirement configs/deploy/serving.lock

check: setup  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock:  ## write requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --extra spark --extra tracing --universal --python-version 3.11 --generate-hashes --output-file requirements.lock --quiet
	$(BIN)/python -m configs.deploy.slim > configs/deploy/serving.lock.new && mv configs/deploy/serving.lock.new configs/deploy/serving.lock

clean:  ## remove everything generated
	rm -rf var
