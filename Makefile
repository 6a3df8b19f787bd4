# Everything is installed into .venv by pip; nothing but PyPI is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test test-engines lint types imports check bench-deliver bench-kinesis bench-flink bench-enrich bench-service bench-dsr bench-erase clean

$(READY): requirements.txt setup.py
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY)  ## Sample data through a delivery, a person forgotten, contacts through the service
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

test: $(READY)  ## All tests that need no engine
	$(BIN)/python -m pytest -m "not engine and not slow" --numprocesses auto --dist loadfile --no-loadscope-reorder

test-engines: $(READY)  ## Tests against real engines, which they install
	$(BIN)/python -m pytest -m engine tests/engines

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports

check: lint types imports test  ## What a change has to pass

bench-deliver: $(READY)  ## Lethe beside its peers, on a million records
	$(BIN)/python -m bench.deliver

bench-kinesis: $(READY)  ## Reading and delivering a stream, beside plain boto3 and a file
	$(BIN)/python -m bench.kinesis

bench-flink: $(READY)  ## Streaming delivery on a Flink of this machine, and its recovery
	$(BIN)/python -m bench.flink

bench-enrich: $(READY)  ## Enriching contacts, beside a client that costs nothing
	$(BIN)/python -m bench.enrich

bench-service: $(READY)  ## The service beside a pipeline, at its most, and with 800 WebSockets
	$(BIN)/python -m bench.service

bench-dsr: $(READY)  ## Data subject requests: submitted, looked up among a million, and held for minutes
	$(BIN)/python -m bench.dsr

bench-erase: $(READY)  ## Erasing beside the usual method, finding in many files, and how it grows
	$(BIN)/python -m bench.erase

clean:
	rm -rf $(VENV) demo bench/results .pytest_cache .mypy_cache .ruff_cache
