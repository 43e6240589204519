# One command each, on a machine with Python, pip and make:
#   make demo   analyzes a fixture, writes the HTML report and says where
#   make test   lints, type-checks and runs the tests, on two processors: JOBS=8 for more
#   make coverage   the same tests, and which lines none of them runs
#   make test-browser   tests the report in Chromium: Debian's is installed where there is none and root runs it
#                       LATE=400 draws every frame so many milliseconds late, as slow machines do
#   make laws   tests the laws again, by other examples every time
#   make test-olah   tests the Hub's part against a mirror by others, too
#   make bench  measures speed and memory beside cat and what others do; BENCH="--gigabytes 0.1 --rounds 1" for less
#   make fuzz   fuzzes every reader for ten minutes: make fuzz READER=torch SECONDS=60 for one of them and less
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO ?= demo
OLAH ?= .venv-olah

.PHONY: demo test coverage test-browser chromium laws test-olah lint bench fuzz fixtures picture clean
.DEFAULT_GOAL := test

$(READY): pyproject.toml constraints.txt setup.py $(wildcard wsanalyze/changes/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

demo: $(READY)
	mkdir -p $(DEMO)
	$(BIN)/wsanalyze analyze fixtures/digits-transformer --params all --run $(DEMO)/digits-transformer.wsa \
		--html $(DEMO)/report.html
	@echo
	@echo "The report is in $(abspath $(DEMO)/report.html): open it in a browser."

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/mypy

# Of matrices as small as the tests', threads of BLAS cost more than they compute.
JOBS ?= 2
test: lint chromium
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist worksteal

# Half as slow again, since every line is counted.
coverage: lint chromium
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist worksteal --cov --cov-report=term:skip-covered

# Without a Chromium, tests in a browser are skipped.
chromium: $(READY)
	@$(BIN)/python tests/browser/chromium.py

LATE ?= 0
test-browser: chromium
	WSANALYZE_LATE_FRAMES=$(LATE) $(BIN)/pytest -n $(JOBS) --dist worksteal -m browser tests/browser

laws: $(READY)
	HYPOTHESIS_PROFILE=random $(BIN)/pytest -m hypothesis

# olah asks for other versions of what stands in .venv, so it has an environment of its own.
$(OLAH)/.ready:
	$(PYTHON) -m venv $(OLAH)
	$(OLAH)/bin/python -m pip install --quiet --disable-pip-version-check olah==0.5.4
	touch $@

test-olah: $(READY) $(OLAH)/.ready
	WSANALYZE_OLAH=$(abspath $(OLAH)/bin/olah-cli) $(BIN)/pytest tests/hub/test_olah.py

bench: $(READY)
	$(BIN)/python benchmarks/speed.py $(BENCH)

# Guided by coverage where atheris is installed: `.venv/bin/pip install atheris`. It is no dependency of the tests since
# it has no wheels for Linux on ARM, macOS or Windows; without it, a plain engine mutates what ended in a new way.
SECONDS ?= 600
fuzz: $(READY)
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(SECONDS) $(if $(READER),--reader $(READER))

picture: demo
	$(BIN)/python docs/make_picture.py $(DEMO)/report.html docs/report.png

fixtures: $(READY)
	$(BIN)/python fixtures/make.py

clean:
	rm -rf $(VENV) $(OLAH) $(DEMO) build dist *.egg-info wsanalyze/changes/*.so .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
